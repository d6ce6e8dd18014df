/** A review inside the page: how `duologue review` writes it, and where the page finds it. */
import type { ReviewData } from './review.js'

/** The element of the page that holds a review. */
export const reviewElementId = 'review-data'

/** The page with a review inside. */
export const withReview = (html: string, data: ReviewData): string => {
  const json = JSON.stringify(data).replaceAll('<', '\\u003c')
  const element = `<script type="application/json" id="${reviewElementId}">${json}</script>`
  // A function, since `$&` in the data must stay what it is.
  return html.replace('<script type="module">', script => `${element}${script}`)
}
