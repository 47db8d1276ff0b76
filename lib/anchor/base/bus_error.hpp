#pragma once

namespace anchor {

/// Installs a handler for SIGBUS, which the kernel sends where a mapped file became shorter than it was or
/// its disk failed: one line to stderr that names the file, then exit code 1. `program` must outlive the
/// process.
void report_bus_errors(const char* program);

}  // namespace anchor
