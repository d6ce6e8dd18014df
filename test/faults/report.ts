/** Figures of a fault test, as a line of the table in docs/RELIABILITY.md. */
export const report = (
  fault: string,
  { recovered, messages, told }: { readonly recovered: number; readonly messages: number; readonly told: string },
): void => {
  console.log(`| ${fault} | ${told} | ${messages} messages | recovered in ${recovered} ms |`)
}
