#include "anchor/plan/context_split.hpp"

#include <algorithm>
#include <array>

#include "anchor/base/error.hpp"

namespace anchor {
namespace {

constexpr std::array layouts{ContextLayout::ring, ContextLayout::zigzag, ContextLayout::striped};

}  // namespace

const char* name_of(ContextLayout layout) {
  switch (layout) {
    case ContextLayout::ring:
      return "ring";
    case ContextLayout::zigzag:
      return "zigzag";
    case ContextLayout::striped:
      return "striped";
  }
  return "";
}

ContextLayout context_layout(std::string_view name) {
  for (const ContextLayout layout : layouts) {
    if (name == name_of(layout)) return layout;
  }
  fail_usage("--context-parallel {}: layouts are ring, zigzag and striped", name);
}

ContextSplit::ContextSplit(ContextLayout layout, int ranks, std::int64_t tokens)
    : layout_(layout), ranks_(ranks), tokens_(tokens) {
  const std::int64_t runs = layout == ContextLayout::zigzag ? 2 * static_cast<std::int64_t>(ranks) : ranks;
  if (ranks < 1 || tokens < runs)
    fail_usage("{} tokens cannot be dealt to {} ranks ({})", tokens, ranks, name_of(layout));
  if (layout == ContextLayout::striped) return;
  for (std::int64_t n = 0; n <= runs; ++n) runs_.push_back(tokens * n / runs);
}

int ContextSplit::owner(std::int64_t token) const {
  if (layout_ == ContextLayout::striped) return static_cast<int>(token % ranks_);
  const auto run = static_cast<int>(std::upper_bound(runs_.begin(), runs_.end(), token) - runs_.begin()) - 1;
  return std::min(run, 2 * ranks_ - 1 - run);
}

std::int64_t ContextSplit::owned_before(int rank, std::int64_t token) const {
  if (layout_ == ContextLayout::striped) return (token + ranks_ - 1 - rank) / ranks_;
  const auto in_run = [&](int run) {
    const auto n = static_cast<std::size_t>(run);
    return std::clamp(token, runs_[n], runs_[n + 1]) - runs_[n];
  };
  return layout_ == ContextLayout::ring ? in_run(rank) : in_run(rank) + in_run(2 * ranks_ - 1 - rank);
}

}  // namespace anchor
