#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

namespace anchor {

/// Number of threads of parallel_for; 0 = all cores (the default).
void set_threads(int threads);
int threads();
/// Bounds the calling thread's loops to so many threads; 0 = no bound. For threads that work side by side.
void set_thread_share(int count);

/// Set by the tools' handler of SIGINT, SIGTERM and SIGHUP; long loops call check_interrupt() between pieces
/// of work.
extern std::atomic<bool> interrupt_requested;
/// Which signal it was; 0: none.
extern std::atomic<int> interrupt_signal;
/// Throws Error(interrupted) once an interrupt was requested.
void check_interrupt();

/// Calls body(i) for i in [0, count) on all threads, handing out one index at a time (pieces differ in cost).
/// Results must not depend on which thread runs a piece. The first exception is rethrown after the others
/// stop; an interrupt stops the loop between pieces. Nested calls run serially.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

}  // namespace anchor
