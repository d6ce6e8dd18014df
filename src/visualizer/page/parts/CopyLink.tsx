import type { JSX } from 'preact'
import { useState } from 'preact/hooks'

/** Copies the address of what is shown. */
export const CopyLink = (): JSX.Element => {
  const [copied, setCopied] = useState(false)
  return (
    <button
      type="button"
      onClick={() => {
        void navigator.clipboard?.writeText(location.href).then(() => setCopied(true))
        setTimeout(() => setCopied(false), 2_000)
      }}
    >
      {copied ? 'Copied' : 'Copy link'}
    </button>
  )
}
