#pragma once

#include <span>
#include <string>

#include "anchor/eval/answer_set.hpp"

namespace anchor {

/// What the settings did to a model's answers, as text: for every point (what knobs were found for) a line
/// per method, its worst kind, flips and KL by kind and length, and the methods in pairs by McNemar's test.
/// Kinds and lengths of which dense attention gets less than 80 % right are marked with * and left out of the
/// lines of methods and the pairs. `markdown`: tables with bars, of any width; otherwise 80 columns.
std::string eval_tables(std::span<const AnswerSet> sets, bool markdown);

}  // namespace anchor
