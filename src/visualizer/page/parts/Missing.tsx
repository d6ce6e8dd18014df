import type { JSX } from 'preact'

/** Says that what was asked for is not here. */
export const Missing = ({ what }: { readonly what: string }): JSX.Element => (
  <p class="missing" role="alert">
    {what}
  </p>
)
