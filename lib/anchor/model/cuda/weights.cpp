#include "anchor/model/cuda/weights.hpp"

#include <algorithm>

namespace anchor {
namespace {

/// Do the weights leave this share of the free memory to everything else?
constexpr double share_for_weights = 0.7;

}  // namespace

DeviceWeights::DeviceWeights(const LanguageModel& model, WeightMemory memory, int device)
    : model_(model), device_(device) {
  const int layers = model.config().layers;
  std::size_t all = 0;
  for (int n = 0; n < layers; ++n) {
    parts_.push_back(packed_layer(model, n));
    all += parts_.back().bytes;
    largest_ = std::max(largest_, parts_.back().bytes);
  }
  const auto output = static_cast<std::size_t>(2 * model.config().vocab_size * model.config().hidden_size);
  const double room = share_for_weights * static_cast<double>(kernels::free_memory());
  streamed_ = memory == WeightMemory::streamed ||
              (memory == WeightMemory::automatic && static_cast<double>(all + output) > room);
  slots_ = std::vector<Slot>(streamed_ ? 2 : static_cast<std::size_t>(layers));
  loaded_.resize(static_cast<std::size_t>(layers));
}

DeviceWeights::~DeviceWeights() {
  if (pending_.valid()) pending_.wait();
}

void DeviceWeights::start(int n) {
  pending_layer_ = n;
  ++turn_;
  pending_ = std::async(std::launch::async, [this, n] { load(n); });
}

void DeviceWeights::load(int n) {
  kernels::set_device(device_);
  const PackedLayer& parts = parts_[static_cast<std::size_t>(n)];
  Stage& stage = stages_[turn_ % 2];
  stage.copied.synchronize();
  if (stage.memory.bytes() < largest_) stage.memory = kernels::PinnedBuffer(largest_);
  pack_layer(model_, n, parts, stage.memory.data<std::byte>());
  Slot& slot = slot_of(n, turn_);
  if (slot.memory.bytes() < parts.bytes)
    slot.memory = kernels::DeviceBuffer(streamed_ ? largest_ : parts.bytes);
  copies_.wait(slot.used);
  kernels::upload_pinned(slot.memory.data(), stage.memory.data(), parts.bytes, copies_);
  stage.copied.record(copies_);
}

DeviceLayer DeviceWeights::layer(int n, const kernels::Stream& compute) {
  if (!streamed_ && loaded_[static_cast<std::size_t>(n)]) {
    hand_ = &slot_of(n, 0);
    return view(n, hand_->memory);
  }
  if (pending_layer_ != n) {  // the first layer, or the text before ended early
    if (pending_.valid()) pending_.wait();
    compute.synchronize();
    start(n);
  }
  pending_layer_ = -1;
  pending_.get();
  compute.wait(stages_[turn_ % 2].copied);
  hand_ = &slot_of(n, turn_);
  if (!streamed_) loaded_[static_cast<std::size_t>(n)] = true;
  const int next = n + 1 < model_.config().layers ? n + 1 : 0;
  if (streamed_ || !loaded_[static_cast<std::size_t>(next)]) {
    start(next);
  } else {
    for (Stage& stage : stages_) {  // all layers are there
      stage.copied.synchronize();
      stage.memory = {};
    }
  }
  return view(n, hand_->memory);
}

void DeviceWeights::done(const kernels::Stream& compute) { hand_->used.record(compute); }

const void* DeviceWeights::output(const kernels::Stream& compute) {
  if (output_.bytes() > 0) return output_.data();
  const std::int64_t width = 2 * model_.config().hidden_size, vocab = model_.config().vocab_size;
  kernels::DeviceBuffer whole(static_cast<std::size_t>(vocab * width));
  const std::int64_t piece = std::clamp<std::int64_t>((std::int64_t{64} << 20) / width, 1, vocab);
  const kernels::PinnedBuffer stage(static_cast<std::size_t>(piece * width));
  for (std::int64_t first = 0; first < vocab; first += piece) {
    const std::int64_t rows = std::min(piece, vocab - first);
    pack_output(model_, first, rows, stage.data<std::byte>());
    kernels::upload(whole.data<char>() + first * width, stage.data(), static_cast<std::size_t>(rows * width),
                    compute);
  }
  output_ = std::move(whole);
  return output_.data();
}

DeviceLayer DeviceWeights::view(int n, const kernels::DeviceBuffer& memory) const {
  const PackedLayer& p = parts_[static_cast<std::size_t>(n)];
  const auto at = [&](const PackedLayer::Part& part) -> const void* {
    return part.bytes == 0 ? nullptr : memory.data<char>() + part.begin;
  };
  const auto floats = [&](const PackedLayer::Part& part) { return static_cast<const float*>(at(part)); };
  return {.attention_norm = floats(p.attention_norm),
          .ffn_norm = floats(p.ffn_norm),
          .q_norm = floats(p.q_norm),
          .k_norm = floats(p.k_norm),
          .post_attention_norm = floats(p.post_attention_norm),
          .post_ffn_norm = floats(p.post_ffn_norm),
          .qkv_bias = floats(p.qkv_bias),
          .output_bias = floats(p.output_bias),
          .gate_up_bias = floats(p.gate_up_bias),
          .down_bias = floats(p.down_bias),
          .qkv = at(p.qkv),
          .output = at(p.output),
          .router = at(p.router),
          .gate_up = at(p.gate_up),
          .down = at(p.down)};
}

}  // namespace anchor
