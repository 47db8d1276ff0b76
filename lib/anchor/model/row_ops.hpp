#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "anchor/base/aligned.hpp"
#include "anchor/model/architecture.hpp"

// What a forward pass does to rows of activations between its matrix products.
namespace anchor {

/// Uninitialised working memory of one piece of work; aligned, so that sums over it do not depend on its
/// address.
class Scratch {
 public:
  explicit Scratch(std::int64_t size)
      : data_(AlignedAllocator<float>().allocate(static_cast<std::size_t>(size))) {}
  ~Scratch() { AlignedAllocator<float>().deallocate(data_, 0); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return data_; }

 private:
  float* data_;
};

/// Calls body(begin, count) for blocks of rows on all threads. The size of a block is fixed, so that results
/// do not depend on the number of threads.
void for_row_blocks(std::int64_t rows,
                    const std::function<void(std::int64_t begin, std::int64_t count)>& body);

/// out[r] = x[r] / rms(x[r]) * weight (Zhang and Sennrich, arXiv 1910.07467); in place where out = x.
void rms_norm(std::int64_t rows, const float* x, std::span<const float> weight, double eps, float* out);
/// x[r] += bias; nothing where there is none.
void add_bias(std::int64_t rows, std::span<const float> bias, float* x);
/// Rotates pairs (i, i + half) of one head by the angles of its position; what lies behind them is copied.
void rotate(const float* in, const float* cos, const float* sin, std::int64_t half, std::int64_t dim,
            float* out);
/// Gated linear units (arXiv 2002.05202): gate becomes activation(gate) * up; rows are [gate, up], width
/// floats each.
void gate(Activation activation, std::int64_t rows, std::int64_t width, float* gate_up);
/// Neither NaN nor infinite, all of them.
bool all_finite(std::span<const float> values);

}  // namespace anchor
