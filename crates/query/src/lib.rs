//! One filter language for command line, API and pages.
