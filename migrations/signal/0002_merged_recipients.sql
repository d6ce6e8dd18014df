-- Repeated calls and retry receipts look for messages of every recipient that was found to be the same person.
CREATE INDEX signal_recipients_merged_into ON signal_recipients (merged_into);
