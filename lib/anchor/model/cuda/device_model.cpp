#include "anchor/model/device_model.hpp"

#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cuda/cublas.hpp"
#include "anchor/engine/cuda/plan.hpp"
#include "anchor/kernels/model.hpp"

namespace anchor {
namespace {

constexpr std::int64_t row_chunk = 16384, logit_rows = 1024;

std::size_t size(std::int64_t items) { return static_cast<std::size_t>(items); }

/// Weights (or other floats) on the device, rounded to bf16 or as they are.
class DeviceValues {
 public:
  void upload_bf16(std::span<const float> values, const kernels::Stream& stream) {
    std::vector<std::byte> rounded(values.size() * 2);
    constexpr std::size_t piece = 1 << 18;
    parallel_for(static_cast<std::int64_t>((values.size() + piece - 1) / piece), [&](std::int64_t n) {
      const std::size_t begin = static_cast<std::size_t>(n) * piece;
      from_float(DType::bf16, values.subspan(begin, std::min(piece, values.size() - begin)),
                 rounded.data() + 2 * begin);
    });
    place(rounded.size()).upload(rounded.data(), rounded.size(), stream);
  }
  template <class T>
  void upload(std::span<const T> values, const kernels::Stream& stream) {
    place(values.size_bytes()).upload(values.data(), values.size_bytes(), stream);
  }
  template <class T = void>
  T* data() const {
    return buffer_.data<T>();
  }

 private:
  kernels::DeviceBuffer& place(std::size_t bytes) {
    if (buffer_.bytes() < bytes) {
      buffer_ = {};
      buffer_ = kernels::DeviceBuffer(bytes);
    }
    return buffer_;
  }
  kernels::DeviceBuffer buffer_;
};

class CudaModel final : public DeviceModel {
 public:
  CudaModel(const LanguageModel& model, int device)
      : model_(model), config_(model.config()), info_(kernels::device_info(device)), gemm_(stream_) {}

  std::string device() const override { return info_.name; }

  std::vector<double> forward(std::span<const int> tokens, const Ropes& ropes, const Hooks& hooks) override {
    return guarded([&] { return Pass(*this, tokens, ropes, hooks).run(); });
  }

 private:
  /// One text.
  class Pass {
   public:
    Pass(CudaModel& owner, std::span<const int> tokens, const Ropes& ropes, const Hooks& hooks)
        : m_(owner),
          c_(owner.config_),
          stream_(owner.stream_),
          tokens_(tokens),
          ropes_(ropes),
          hooks_(hooks),
          n_(static_cast<std::int64_t>(tokens.size())),
          inputs_(geometry(), DType::bf16, owner.stream_),
          out_(size(n_ * q_size()) * 2),
          lse_(size(c_.q_heads * n_) * sizeof(float)),
          normed_(size(std::min(n_, row_chunk) * std::max(c_.hidden_size, c_.ffn_size)) * 2),
          wide_(size(std::min(n_, row_chunk) * std::max({2 * c_.ffn_size, qkv_size(), c_.hidden_size})) *
                sizeof(float)) {
      x_.upload<float>(m_.model_.embed(tokens), stream_);
      std::vector<float> cos, sin;
      angles_ = std::vector<Angles>(ropes.kinds.size());
      for (std::size_t kind = 0; kind < angles_.size(); ++kind) {
        ropes.kinds[kind].tables(n_, cos, sin);
        angles_[kind].cos.upload<float>(cos, stream_);
        angles_[kind].sin.upload<float>(sin, stream_);
      }
    }

    std::vector<double> run() {
      for (int layer = 0; layer < c_.layers; ++layer) {
        check_interrupt();
        m_.model_.expand(layer, m_.weights_);
        project_heads(layer);
        attend(layer);
        if (hooks_.wants_layer && hooks_.wants_layer(layer)) report(layer);
        feed_forward();
        if (hooks_.on_progress) hooks_.on_progress(layer + 1, c_.layers);
      }
      return likelihoods();
    }

   private:
    struct Angles {
      DeviceValues cos, sin;
    };

    /// Without a window, which differs from layer to layer: attend() sets it.
    Geometry geometry() const {
      Geometry open = m_.model_.geometry(0, n_);
      open.sliding_window = 0;
      return open;
    }
    std::int64_t q_size() const { return std::int64_t{c_.q_heads} * c_.head_dim; }
    std::int64_t qkv_size() const { return (c_.q_heads + 2 * std::int64_t{c_.kv_heads}) * c_.head_dim; }
    float* x(std::int64_t row) const { return x_.data<float>() + row * c_.hidden_size; }

    template <class Body>
    void for_chunks(std::int64_t rows, std::int64_t chunk, Body body) {
      for (std::int64_t begin = 0; begin < rows; begin += chunk) body(begin, std::min(chunk, rows - begin));
    }

    void norm(std::span<const float> weight, std::int64_t begin, std::int64_t rows) {
      kernels::rms_norm(x(begin), norm_.data<float>(), static_cast<float>(c_.rms_norm_eps), rows,
                        static_cast<int>(weight.size()), normed_.data(), stream_);
    }

    void add_bias(std::span<const float> bias, std::int64_t rows, float* x) {
      if (bias.empty()) return;
      bias_.upload<float>(bias, stream_);
      kernels::add_bias(bias_.data<float>(), rows, static_cast<std::int64_t>(bias.size()), x, stream_);
    }

    void project_heads(int layer) {
      const LanguageModel::Layer& w = m_.weights_;
      const Rope* rope = ropes_.of(layer);
      const Angles* angles = rope ? &angles_[static_cast<std::size_t>(rope - ropes_.kinds.data())] : nullptr;
      norm_.upload<float>(w.attention_norm, stream_);
      matrix_.upload_bf16(w.qkv, stream_);
      if (!w.q_norm.empty()) {
        q_norm_.upload<float>(w.q_norm, stream_);
        k_norm_.upload<float>(w.k_norm, stream_);
      }
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        norm(w.attention_norm, begin, rows);
        m_.gemm_.run(rows, qkv_size(), c_.hidden_size, normed_.data(), matrix_.data(), wide_.data<float>(),
                     false);
        add_bias(w.qkv_bias, rows, wide_.data<float>());
        kernels::split_heads({.projected = wide_.data<float>(),
                              .cos = angles ? angles->cos.data<float>() : nullptr,
                              .sin = angles ? angles->sin.data<float>() : nullptr,
                              .q = inputs_.q_data(),
                              .k = inputs_.k_data(),
                              .v = inputs_.v_data(),
                              .q_heads = c_.q_heads,
                              .kv_heads = c_.kv_heads,
                              .dim = c_.head_dim,
                              .tokens = n_,
                              .begin = begin,
                              .rows = rows,
                              .rotated = rope ? static_cast<int>(2 * rope->inv_freq.size()) : 0,
                              .q_norm = w.q_norm.empty() ? nullptr : q_norm_.data<float>(),
                              .k_norm = w.k_norm.empty() ? nullptr : k_norm_.data<float>(),
                              .eps = static_cast<float>(c_.rms_norm_eps)},
                             stream_);
      });
    }

    /// Attention of all rows, written as [token, head, dim].
    void attend(int layer) {
      static const Method& dense = find_method("dense");
      MethodAttention* sparse = hooks_.attention;
      inputs_.set_window(c_.window(layer));
      const Method& method = sparse ? sparse->method() : dense;
      const PlanRequest request = sparse ? sparse->request(layer) : PlanRequest{default_params(dense), {}};
      const std::int64_t chunk = method.rows_per_plan == 0 ? n_ : method.rows_per_plan;
      for_chunks(n_, chunk, [&](std::int64_t begin, std::int64_t rows) {
        const std::unique_ptr<CudaPlanner> planner =
            make_cuda_planner({method, request, inputs_, begin, begin + rows});
        std::optional<CudaLists> lists;
        if (!planner) {
          const AttentionInputs view = method.plan_is_static
                                           ? AttentionInputs{inputs_.geometry().rows(begin, begin + rows)}
                                           : inputs_.host().view().rows(begin, begin + rows);
          lists.emplace(method.plan_cpu(view, request), stream_);
        }
        const kernels::PlanParams& plan = planner ? planner->plan() : lists->params;
        if (sparse) sparse->count(download_plan(plan, inputs_.geometry().rows(begin, begin + rows), stream_));
        kernels::SparseFwdParams params =
            forward_params(inputs_, begin, begin + rows, plan, out_.data<char>() + begin * q_size() * 2,
                           lse_.data<float>(), false);
        params.stride_out_head = c_.head_dim;
        params.stride_out_token = q_size();
        if (!hooks_.wants_result) params.lse = nullptr;
        check_supported(params);
        const kernels::DeviceBuffer workspace(kernels::workspace_bytes(params));
        kernels::sparse_fwd(params, workspace.data(), stream_);
        stream_.synchronize();  // the plan and the workspace go
        if (hooks_.wants_result) keep_lse(begin, rows);
      });
      inputs_.forget_host();
    }

    /// Takes the normalisers of rows [begin, begin + rows), [head, row] on the device, to their places.
    void keep_lse(std::int64_t begin, std::int64_t rows) {
      std::vector<float> some(size(c_.q_heads * rows));
      lse_.download(some.data(), some.size() * sizeof(float), stream_);
      host_lse_.resize(size(c_.q_heads * n_));
      for (int head = 0; head < c_.q_heads; ++head)
        std::copy_n(some.begin() + head * rows, rows, host_lse_.begin() + head * n_ + begin);
    }

    /// The stream of some rows grows by a product with the weights at hand.
    void add_product(std::int64_t begin, std::int64_t rows, const void* in, std::int64_t width,
                     const DeviceValues& weights, std::span<const float> bias,
                     std::span<const float> post_norm) {
      if (post_norm.empty()) {
        m_.gemm_.run(rows, c_.hidden_size, width, in, weights.data(), x(begin), true);
        add_bias(bias, rows, x(begin));
        return;
      }
      m_.gemm_.run(rows, c_.hidden_size, width, in, weights.data(), wide_.data<float>(), false);
      add_bias(bias, rows, wide_.data<float>());
      post_norm_.upload<float>(post_norm, stream_);
      kernels::add_rms_norm(wide_.data<float>(), post_norm_.data<float>(),
                            static_cast<float>(c_.rms_norm_eps), rows, static_cast<int>(c_.hidden_size),
                            x(begin), stream_);
    }

    void feed_forward() {
      const LanguageModel::Layer& w = m_.weights_;
      norm_.upload<float>(w.ffn_norm, stream_);
      matrix_.upload_bf16(w.output, stream_);
      gate_up_.upload_bf16(w.gate_up, stream_);
      down_.upload_bf16(w.down, stream_);
      const auto gate = c_.architecture->activation == Activation::silu ? kernels::swiglu : kernels::geglu;
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        add_product(begin, rows, out_.data<char>() + begin * q_size() * 2, q_size(), matrix_, w.output_bias,
                    w.post_attention_norm);
        norm(w.ffn_norm, begin, rows);
        m_.gemm_.run(rows, 2 * c_.ffn_size, c_.hidden_size, normed_.data(), gate_up_.data(),
                     wide_.data<float>(), false);
        add_bias(w.gate_up_bias, rows, wide_.data<float>());
        gate(wide_.data<float>(), rows, static_cast<int>(c_.ffn_size), normed_.data(), stream_);
        add_product(begin, rows, normed_.data(), c_.ffn_size, down_, w.down_bias, w.post_ffn_norm);
      });
    }

    /// Hands a layer's heads to the hook.
    void report(int layer) {
      const FloatGroup& host = inputs_.host();
      AttentionResult result;
      if (hooks_.wants_result) {
        std::vector<std::byte> bytes(out_.bytes());
        out_.download(bytes.data(), bytes.size(), stream_);
        std::vector<float> rows(bytes.size() / 2);
        to_float(DType::bf16, bytes.data(), rows);
        result.lse.assign(host_lse_.begin(), host_lse_.end());
        result.out.resize(rows.size());
        for (std::int64_t token = 0; token < n_; ++token) {
          for (int head = 0; head < c_.q_heads; ++head)
            std::copy_n(rows.begin() + (token * c_.q_heads + head) * c_.head_dim, c_.head_dim,
                        result.out.begin() + (head * n_ + token) * c_.head_dim);
        }
      }
      hooks_.on_layer(layer, host.view(), result);
      inputs_.forget_host();
    }

    std::vector<double> likelihoods() {
      const std::vector<float>& weight = m_.model_.output_norm();
      norm_.upload<float>(weight, stream_);
      matrix_.upload_bf16(m_.model_.output_weights(), stream_);
      const std::vector<std::int32_t> next(tokens_.begin() + 1, tokens_.end());
      DeviceValues targets;
      if (!next.empty()) targets.upload<std::int32_t>(next, stream_);
      const kernels::DeviceBuffer logits(size(std::min(n_, logit_rows) * c_.vocab_size) * sizeof(float)),
          nll(size(n_) * sizeof(float));
      for_chunks(n_ - 1, logit_rows, [&](std::int64_t begin, std::int64_t rows) {
        norm(weight, begin, rows);
        m_.gemm_.run(rows, c_.vocab_size, c_.hidden_size, normed_.data(), matrix_.data(),
                     logits.data<float>(), false);
        kernels::negative_log_likelihood(logits.data<float>(), targets.data<std::int32_t>() + begin, rows,
                                         c_.vocab_size, nll.data<float>() + begin, stream_);
      });
      std::vector<float> values(size(n_ - 1));
      nll.download(values.data(), values.size() * sizeof(float), stream_);
      return {values.begin(), values.end()};
    }

    CudaModel& m_;
    const ModelConfig& c_;
    const kernels::Stream& stream_;
    std::span<const int> tokens_;
    const Ropes& ropes_;
    const Hooks& hooks_;
    std::int64_t n_;
    CudaInputs inputs_;
    kernels::DeviceBuffer out_, lse_, normed_, wide_;
    std::vector<float> host_lse_;  ///< [q_heads, n] of the layer, where somebody wants it
    DeviceValues x_, norm_, matrix_, gate_up_, down_, bias_, q_norm_, k_norm_, post_norm_;
    std::vector<Angles> angles_;
  };

  const LanguageModel& model_;
  const ModelConfig& config_;
  kernels::DeviceInfo info_;
  kernels::Stream stream_;
  CublasGemm gemm_;
  LanguageModel::Layer weights_;  ///< of the layer at hand
};

}  // namespace

std::unique_ptr<DeviceModel> make_cuda_model(const LanguageModel& model, int device) {
  if (model.config().experts > 0)
    fail("{}: mixtures of experts run on the CPU only; use --device cpu", model.path());
  return guarded([&]() -> std::unique_ptr<DeviceModel> {
    kernels::set_device(device);
    return std::make_unique<CudaModel>(model, device);
  });
}

}  // namespace anchor
