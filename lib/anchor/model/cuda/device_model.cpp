#include <algorithm>
#include <cmath>

#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/engine/cuda/cublas.hpp"
#include "anchor/engine/cuda/plan.hpp"
#include "anchor/kernels/model.hpp"
#include "anchor/model/device_model.hpp"

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

  std::vector<double> forward(std::span<const int> tokens, const Rope& rope, const Hooks& hooks) override {
    return guarded([&] { return Pass(*this, tokens, rope, hooks).run(); });
  }

 private:
  /// One text.
  class Pass {
   public:
    Pass(CudaModel& owner, std::span<const int> tokens, const Rope& rope, const Hooks& hooks)
        : m_(owner),
          c_(owner.config_),
          stream_(owner.stream_),
          tokens_(tokens),
          hooks_(hooks),
          n_(static_cast<std::int64_t>(tokens.size())),
          inputs_(geometry(), DType::bf16, owner.stream_),
          out_(size(n_ * q_size()) * 2),
          lse_(size(c_.q_heads * n_) * sizeof(float)),
          normed_(size(std::min(n_, row_chunk) * std::max(c_.hidden_size, c_.ffn_size)) * 2),
          wide_(size(std::min(n_, row_chunk) * std::max(2 * c_.ffn_size, qkv_size())) * sizeof(float)) {
      x_.upload<float>(m_.model_.embed(tokens), stream_);
      std::vector<float> cos, sin;
      rope.tables(n_, cos, sin);
      cos_.upload<float>(cos, stream_);
      sin_.upload<float>(sin, stream_);
    }

    std::vector<double> run() {
      for (int layer = 0; layer < c_.layers; ++layer) {
        check_interrupt();
        m_.model_.expand(layer, m_.weights_);
        project_heads();
        attend(layer);
        if (hooks_.wants_layer && hooks_.wants_layer(layer)) report(layer);
        feed_forward();
        if (hooks_.on_progress) hooks_.on_progress(layer + 1, c_.layers);
      }
      return likelihoods();
    }

   private:
    Geometry geometry() const {
      return {
          c_.q_heads, c_.kv_heads, n_, n_, 0, c_.head_dim, 1 / std::sqrt(static_cast<double>(c_.head_dim))};
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

    void project_heads() {
      const LanguageModel::Layer& w = m_.weights_;
      norm_.upload<float>(w.attention_norm, stream_);
      matrix_.upload_bf16(w.qkv, stream_);
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        norm(w.attention_norm, begin, rows);
        m_.gemm_.run(rows, qkv_size(), c_.hidden_size, normed_.data(), matrix_.data(), wide_.data<float>(),
                     false);
        kernels::split_heads({.projected = wide_.data<float>(),
                              .cos = cos_.data<float>(),
                              .sin = sin_.data<float>(),
                              .q = inputs_.q_data(),
                              .k = inputs_.k_data(),
                              .v = inputs_.v_data(),
                              .q_heads = c_.q_heads,
                              .kv_heads = c_.kv_heads,
                              .dim = c_.head_dim,
                              .tokens = n_,
                              .begin = begin,
                              .rows = rows},
                             stream_);
      });
    }

    /// Attention of all rows, written as [token, head, dim].
    void attend(int layer) {
      static const Method& dense = find_method("dense");
      MethodAttention* sparse = hooks_.attention;
      const Method& method = sparse ? sparse->method() : dense;
      const PlanRequest request = sparse ? sparse->request(layer) : PlanRequest{default_params(dense), {}};
      const std::int64_t chunk = method.rows_per_plan == 0 ? n_ : method.rows_per_plan;
      for_chunks(n_, chunk, [&](std::int64_t begin, std::int64_t rows) {
        const auto planner = make_cuda_planner({method, request, inputs_, begin, begin + rows});
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

    void feed_forward() {
      const LanguageModel::Layer& w = m_.weights_;
      norm_.upload<float>(w.ffn_norm, stream_);
      matrix_.upload_bf16(w.output, stream_);
      gate_up_.upload_bf16(w.gate_up, stream_);
      down_.upload_bf16(w.down, stream_);
      for_chunks(n_, row_chunk, [&](std::int64_t begin, std::int64_t rows) {
        m_.gemm_.run(rows, c_.hidden_size, q_size(), out_.data<char>() + begin * q_size() * 2, matrix_.data(),
                     x(begin), true);
        norm(w.ffn_norm, begin, rows);
        m_.gemm_.run(rows, 2 * c_.ffn_size, c_.hidden_size, normed_.data(), gate_up_.data(),
                     wide_.data<float>(), false);
        kernels::swiglu(wide_.data<float>(), rows, static_cast<int>(c_.ffn_size), normed_.data(), stream_);
        m_.gemm_.run(rows, c_.hidden_size, c_.ffn_size, normed_.data(), down_.data(), x(begin), true);
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
    const Hooks& hooks_;
    std::int64_t n_;
    CudaInputs inputs_;
    kernels::DeviceBuffer out_, lse_, normed_, wide_;
    std::vector<float> host_lse_;  ///< [q_heads, n] of the layer, where somebody wants it
    DeviceValues x_, cos_, sin_, norm_, matrix_, gate_up_, down_;
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
  return guarded([&]() -> std::unique_ptr<DeviceModel> {
    kernels::set_device(device);
    return std::make_unique<CudaModel>(model, device);
  });
}

}  // namespace anchor
