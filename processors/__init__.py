"""The Faust workers: from records of the log to rows of the lake and live counters."""
