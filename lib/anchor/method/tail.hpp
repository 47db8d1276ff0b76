#pragma once

#include <cstdint>

#include "anchor/method/method.hpp"

namespace anchor {

inline constexpr double most_tail = 1 << 30;

/// How many of the last query rows keep all keys, whatever the method selects: its parameter `tail`; 0 where
/// it has none, or says in a word what becomes of a partial last group (anchor).
std::int64_t tail_rows(const Params& params);

/// The parameters for planning query rows [.., end) of q_len alone: with what of the tail lies in them.
Params tail_before(Params params, std::int64_t end, std::int64_t q_len);

/// The plan with all keys for the plan rows that hold its last `rows` query rows. A usage error where pv_skip
/// would leave some of them out.
SparsePlan dense_tail(SparsePlan plan, std::int64_t rows);

/// The entries with those of the last `rows` query rows, in whole plan rows, among what is kept at every
/// knob. They must say where they lie (CriticalItems::places).
CriticalItems forced_tail(const CriticalItems& items, std::int64_t rows, std::int64_t q_len);

/// The method with a parameter `tail`, 0 by default: its last query rows, in whole plan rows, keep all keys.
/// Pooled and sampled queries do not see what single rows ask for, such as the question at the end of a
/// prompt. What is added counts in the density, and exact curves stay exact.
Method with_tail(Method method);

}  // namespace anchor
