import type { Plan, Step } from './plan.js'

/** Looks for a smaller plan that goes wrong in the same way, as long as there is time. `wrong`: what goes wrong with a plan. */
export const shrink = async (
  plan: Plan,
  wrong: (plan: Plan) => Promise<readonly string[]>,
  budgetMs: number,
): Promise<Plan> => {
  const deadline = performance.now() + budgetMs
  const original = kindOf(await wrong(plan))
  let best = plan
  const attempt = async (smaller: Plan): Promise<boolean> => {
    if (performance.now() > deadline || kindOf(await wrong(smaller)) !== original) return false
    best = smaller
    return true
  }
  await onePair(() => best, attempt)
  for (let before = ''; before !== JSON.stringify(best) && performance.now() < deadline; ) {
    before = JSON.stringify(best)
    await withoutSteps(() => best, attempt)
    await simplerWorld(() => best, attempt)
    await simplerSteps(() => best, attempt)
  }
  return best
}

// Numbers differ from run to run of a smaller plan; what is wrong stays the same.
const kindOf = ([first]: readonly string[]): string | undefined => first?.replace(/\d+/gu, '#')

type Attempt = (smaller: Plan) => Promise<boolean>

/** Leaves only what one pair and its two agents do, and what happens to those: most of what goes wrong is between two. */
const onePair = async (best: () => Plan, attempt: Attempt): Promise<void> => {
  const meetings = best().steps.flatMap(step => (step.do === 'meet' ? [step] : []))
  for (const { pair, a, b } of meetings.length > 1 ? meetings : []) {
    const steps = best().steps.filter(
      step => (!('pair' in step) || step.pair === pair) && (!('agent' in step) || step.agent === a || step.agent === b),
    )
    if (await attempt({ ...best(), steps })) return
  }
}

/** Takes away halves, quarters and so on down to single steps. */
const withoutSteps = async (best: () => Plan, attempt: Attempt): Promise<void> => {
  for (let size = Math.ceil(best().steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < best().steps.length; ) {
      const steps = best().steps.filter((_, index) => index < from || index >= from + size)
      if (!(await attempt({ ...best(), steps }))) from += size
    }
  }
}

const simplerWorld = async (best: () => Plan, attempt: Attempt): Promise<void> => {
  const last = best().steps.at(-1)?.at ?? 0
  await attempt({ ...best(), healAt: last + 1_000 })
  await attempt({ ...best(), latency: { min: 0, max: 0 } })
  await attempt({ ...best(), quota: 128 })
  if (best().routers > 1) await attempt({ ...best(), routers: best().routers - 1 })
  if (best().agents > 2) await attempt({ ...best(), agents: best().agents - 1 })
}

const simplerSteps = async (best: () => Plan, attempt: Attempt): Promise<void> => {
  for (let index = 0; index < best().steps.length; index++) {
    const step = best().steps[index] as Step
    for (const simpler of simplerThan(step)) {
      const steps = best().steps.map((one, other) => (other === index ? simpler : one))
      if (await attempt({ ...best(), steps })) break
    }
  }
}

const simplerThan = (step: Step): Step[] => {
  if (step.do === 'say' && (step.count > 1 || step.how !== 'one')) {
    return [
      { ...step, count: 1, how: 'one' },
      { ...step, count: 1 },
    ]
  }
  if (step.do === 'meet' && (step.kind !== 'fast' || step.pq)) {
    return [
      { ...step, kind: 'fast', pq: false },
      { ...step, kind: 'fast' },
      { ...step, pq: false },
    ]
  }
  return []
}
