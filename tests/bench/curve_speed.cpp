// How long a layer's exact curves take, next to the device library's dense attention on the same inputs.
//     anchor-curve-speed [DEVICE]
// Every head's mass map, critical thetas, sort and sums, the threshold for a recall of 0.95 and the binned
// curve: what anchor-sweep asks for, data on the device. Medians of five runs after an untimed one, in turns.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/devices.hpp"

using namespace anchor;

namespace {

/// Uniform numbers: scores then have a standard deviation of about 1.5.
Tensor random_tensor(std::int64_t heads, std::int64_t tokens, int dim, std::uint64_t seed) {
  Tensor tensor{
      DType::bf16, {heads, tokens, dim}, HostBytes(static_cast<std::size_t>(heads * tokens * dim * 2))};
  parallel_for(heads * 64, [&](std::int64_t piece) {
    std::uint64_t state = (seed * 1000003 + static_cast<std::uint64_t>(piece)) * 0x9e3779b97f4a7c15u + 1;
    const std::size_t count = static_cast<std::size_t>(tokens * dim / 64);
    std::byte* out = tensor.bytes.data() + static_cast<std::size_t>(piece) * count * 2;
    std::vector<float> values(count);
    for (float& value : values) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      value = (static_cast<float>(state >> 40) / 8388608 - 1) * 2.1f;
    }
    from_float(DType::bf16, values, out);
  });
  return tensor;
}

double milliseconds(const std::function<void()>& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  struct Shape {
    std::int64_t tokens;
    int q_heads, kv_heads, dim;
  };
  const auto engine = make_engine(argc > 1 ? argv[1] : "auto");
  const Method& method = find_method("anchor");
  fmt::print("{}, bf16, ms of a layer (times the dense forward)\n\n", engine->device());
  fmt::print("| tokens, heads, d | dense | step 16 | step 4 | step 1 |\n|---|---|---|---|---|\n");
  for (const Shape& shape : {Shape{32768, 9, 3, 64}, Shape{32768, 32, 8, 128}, Shape{131072, 32, 8, 128}}) {
    KvGroup layer{.geometry = {shape.q_heads, shape.kv_heads, shape.tokens, shape.tokens, 0, shape.dim,
                               1 / std::sqrt(double(shape.dim))},
                  .q = random_tensor(shape.q_heads, shape.tokens, shape.dim, 1),
                  .k = random_tensor(shape.kv_heads, shape.tokens, shape.dim, 2),
                  .v = random_tensor(shape.kv_heads, shape.tokens, shape.dim, 3)};
    const auto inputs = engine->upload(layer);
    std::vector<int> heads;
    for (int head = 0; head < shape.q_heads; ++head) heads.push_back(head);
    std::unique_ptr<Pipeline> dense;
    try {
      dense = engine->library_pipeline(*inputs);
    } catch (const Error& error) {
      fmt::print(stderr, "no baseline: {}\n", error.what());
    }
    std::vector<std::vector<double>> times(4);
    for (int run = 0; run < 6; ++run) {
      if (dense) times[0].push_back(static_cast<double>(dense->run(true)) / 1e6);
      for (const auto& [at, step] : {std::pair{1, "16"}, std::pair{2, "4"}, std::pair{3, "1"}}) {
        Params params = default_params(method);
        set_param(method, params, "step", step);
        times[static_cast<std::size_t>(at)].push_back(milliseconds([&] {
          engine->curves(method, params, *inputs, heads, [](const HeadCurve& curve) {
            curve.least(0.95);
            curve.binned();
          });
        }));
      }
      if (run == 0)
        for (auto& some : times) some.clear();
    }
    const double base = dense ? median(times[0]) : 0;
    fmt::print("| {}, {}/{}, {} | {:.2f} |", shape.tokens, shape.q_heads, shape.kv_heads, shape.dim, base);
    for (int at = 1; at < 4; ++at) {
      const double time = median(times[static_cast<std::size_t>(at)]);
      fmt::print(" {:.2f} ({:.2f}x) |", time, dense ? time / base : 0);
    }
    fmt::print("\n");
    std::fflush(stdout);
  }
}
