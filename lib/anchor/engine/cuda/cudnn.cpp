#include "anchor/engine/cuda/cudnn.hpp"

#include "anchor/base/error.hpp"

#ifndef ANCHOR_HAVE_CUDNN

namespace anchor {

struct CudnnAttention::State {};

CudnnAttention::CudnnAttention(const CudnnProblem&) {
  fail("cudnn: this build was made without the headers of cudnn and nvidia-cudnn-frontend (./dev setup)");
}
CudnnAttention::~CudnnAttention() = default;
std::size_t CudnnAttention::workspace_bytes() const { return 0; }
void CudnnAttention::run(CUstream_st*, void*) {}
std::string CudnnAttention::version() const { return {}; }

}  // namespace anchor

#else

#include <cudnn_frontend.h>  // a minute of compile time: in this file only

#include <unordered_map>

#include "anchor/engine/cuda/cudnn_symbols.hpp"

namespace anchor {
namespace {

namespace fe = cudnn_frontend;

enum Id : std::int64_t { q_id = 1, k_id, v_id, out_id, lse_id };

void check(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) fail("cudnn: {}: {}", what, cudnnGetErrorString(status));
}

void check(const fe::error_t& error, const char* what) {
  if (error.is_bad()) fail("cudnn: {}: {}", what, error.err_msg);
}

fe::graph::Tensor_attributes tensor(const char* name, Id id, std::int64_t heads, std::int64_t tokens,
                                    std::int64_t dim) {
  return fe::graph::Tensor_attributes()
      .set_name(name)
      .set_uid(id)
      .set_dim({1, heads, tokens, dim})
      .set_stride({heads * tokens * dim, tokens * dim, dim, 1});
}

}  // namespace

struct CudnnAttention::State {
  State() { check(cudnnCreate(&handle), "cudnnCreate"); }
  ~State() { cudnnDestroy(handle); }

  cudnnHandle_t handle = nullptr;
  fe::graph::Graph graph;
  std::unordered_map<std::int64_t, void*> pointers;
  std::int64_t workspace_bytes = 0;
};

CudnnAttention::CudnnAttention(const CudnnProblem& shape) {
  if (const std::string reason = cudnn_missing(); !reason.empty()) fail("cudnn: {}", reason);
  if (shape.q_start + shape.q_len != shape.kv_len)
    fail("cudnn: its causal mask needs the last query on the last key");
  state_ = std::make_unique<State>();
  fe::graph::Graph& graph = state_->graph;
  graph.set_io_data_type(shape.bf16 ? fe::DataType_t::BFLOAT16 : fe::DataType_t::HALF)
      .set_intermediate_data_type(fe::DataType_t::FLOAT)
      .set_compute_data_type(fe::DataType_t::FLOAT);
  const std::int64_t dim = shape.head_dim;
  auto [o, stats] =
      graph.sdpa(graph.tensor(tensor("q", q_id, shape.q_heads, shape.q_len, dim)),
                 graph.tensor(tensor("k", k_id, shape.kv_heads, shape.kv_len, dim)),
                 graph.tensor(tensor("v", v_id, shape.kv_heads, shape.kv_len, dim)),
                 fe::graph::SDPA_attributes()
                     .set_name("sdpa")
                     .set_attn_scale(shape.softmax_scale)
                     .set_generate_stats(shape.lse != nullptr)
                     .set_diagonal_alignment(shape.q_start == 0 ? fe::DiagonalAlignment_t::TOP_LEFT
                                                                : fe::DiagonalAlignment_t::BOTTOM_RIGHT)
                     .set_diagonal_band_right_bound(0));
  o->set_output(true)
      .set_uid(out_id)
      .set_dim({1, shape.q_heads, shape.q_len, dim})
      .set_stride({shape.q_heads * shape.q_len * dim, shape.q_len * dim, dim, 1});
  if (shape.lse) stats->set_output(true).set_uid(lse_id).set_data_type(fe::DataType_t::FLOAT);
  check(graph.build(state_->handle, {fe::HeurMode_t::A}), "no plan for this shape");
  check(graph.get_workspace_size(state_->workspace_bytes), "workspace");
  const auto keep = [&](Id id, const void* pointer) { state_->pointers[id] = const_cast<void*>(pointer); };
  keep(q_id, shape.q), keep(k_id, shape.k), keep(v_id, shape.v), keep(out_id, shape.out);
  if (shape.lse) keep(lse_id, shape.lse);
}

CudnnAttention::~CudnnAttention() = default;

std::size_t CudnnAttention::workspace_bytes() const {
  return static_cast<std::size_t>(state_->workspace_bytes);
}

void CudnnAttention::run(CUstream_st* stream, void* workspace) {
  check(cudnnSetStream(state_->handle, stream), "cudnnSetStream");
  check(state_->graph.execute(state_->handle, state_->pointers, workspace), "execute");
}

std::string CudnnAttention::version() const {
  const std::size_t v = cudnnGetVersion();
  return fmt::format("{}.{}.{}", v / 10000, v / 100 % 100, v % 100);
}

}  // namespace anchor

#endif
