#include "anchor/model/cuda/expert_mixture.hpp"

#include <algorithm>

#include "anchor/model/experts.hpp"

namespace anchor {
namespace {
std::size_t size(std::int64_t items) { return static_cast<std::size_t>(items); }
}  // namespace

void ExpertMixture::run(const DeviceLayer& weights, std::int64_t rows, const void* normed, float* x) {
  const std::int64_t hidden = c_.hidden_size, ffn = c_.expert_ffn_size, experts = c_.experts;
  auto* const logits = static_cast<float*>(logits_.reserve(size(rows * experts) * sizeof(float)));
  gemm_.run(rows, experts, hidden, normed, weights.router, logits, false);
  std::vector<float> host(size(rows * experts));
  kernels::download(host.data(), logits, host.size() * sizeof(float), stream_);
  const Routing routing = route(rows, c_.experts, c_.experts_used, c_.normalised_experts, host);

  std::vector<std::int32_t> visited;
  std::vector<float> shares;
  std::int64_t most = 1;
  for (const auto& visits : routing.of_expert) {
    most = std::max(most, std::ssize(visits));
    for (const Routing::Visit& visit : visits) {
      visited.push_back(static_cast<std::int32_t>(visit.row));
      shares.push_back(visit.weight);
    }
  }
  rows_.upload<std::int32_t>(visited, stream_);
  shares_.upload<float>(shares, stream_);
  void* const gathered = gathered_.reserve(size(most * hidden) * 2);
  auto* const wide = static_cast<float*>(wide_.reserve(size(most * 2 * ffn) * sizeof(float)));
  void* const gated = gated_.reserve(size(most * ffn) * 2);
  auto* const product = static_cast<float*>(product_.reserve(size(most * hidden) * sizeof(float)));
  const auto gate = gate_kernel(c_);
  std::int64_t at = 0;
  for (std::int64_t expert = 0; expert < experts; ++expert) {
    const std::int64_t count = std::ssize(routing.of_expert[size(expert)]);
    if (count == 0) continue;
    const auto matrix = [&](const void* stack, std::int64_t items) {
      return static_cast<const char*>(stack) + 2 * expert * items;
    };
    const std::int32_t* const those = rows_.data<std::int32_t>() + at;
    kernels::gather_rows(normed, those, count, hidden, gathered, stream_);
    gemm_.run(count, 2 * ffn, hidden, gathered, matrix(weights.gate_up, 2 * ffn * hidden), wide, false);
    gate(wide, count, static_cast<int>(ffn), gated, stream_);
    gemm_.run(count, hidden, ffn, gated, matrix(weights.down, hidden * ffn), product, false);
    kernels::add_weighted_rows(product, those, shares_.data<float>() + at, count, hidden, x, stream_);
    at += count;
  }
}

}  // namespace anchor
