#include <cmath>
#include <limits>

#include "anchor/base/aligned.hpp"
#include "anchor/base/dtype.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/matrix_ops.hpp"
#include "anchor/base/parallel.hpp"
#include "anchor/method/anchor_windows.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/param_specs.hpp"
#include "anchor/method/tail.hpp"

// "AnchorAttention: Difference-Aware Sparse Attention with Stripe Granularity", arXiv 2505.23520.
//
// mode clean: a query of group g keeps the initial block and the keys from one block before its group up to
// itself; all others are candidates. mode v4 follows the released code: initial and local window count in
// groups, so columns [b, S) are both kept and candidates (a selected one weighs 2), and keys [gS - b, gS) are
// seen by nobody.
namespace anchor {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::int64_t chunk_keys = 512;

struct Windows : AnchorWindows {
  Windows(const Params& params, const Geometry& geometry)
      : AnchorWindows(geometry, params.integer("block"), params.integer("step"),
                      params.choice("mode") == "v4", dense_partial_group(params)),
        anchor(params.choice("anchor")),
        official(official_rounding(params)) {
    tail = tail_rows(params);
    if (geometry.q_start % group != 0) {
      fail("anchor: a chunk must start at a multiple of the group ({} rows), not at {}", group,
           geometry.q_start);
    }
  }
  static bool dense_partial_group(const Params& params) {
    if (!params.is_word("tail")) return false;
    const std::string& word = params.choice("tail");
    return word == "dense" || (word == "auto" && params.choice("mode") == "v4");
  }

  std::string anchor;
  bool official;  ///< round as the released kernels do on bfloat16 inputs, scores in log2 units
};

constexpr float log2e = 1.44269504088896341f;

/// Row anchors of query rows [row, row + rows) of one head: each row's largest score over the keys outside
/// `hole` (over all keys where the anchor is global) that it sees.
/// Official: queries times sigma times log2 e, rounded each time, the constants too.
std::vector<float> row_anchors(const AttentionInputs& head, std::int64_t row, std::int64_t rows,
                               KeyRange hole, bool official) {
  const Geometry& g = head.geometry;
  const auto sigma = static_cast<float>(g.softmax_scale);
  AlignedVector<float> q(head.q_row(0, row), head.q_row(0, row) + rows * g.head_dim);
  if (official) {
    for (float& x : q) x = round_bf16(round_bf16(x * round_bf16(sigma)) * round_bf16(log2e));
  }
  std::vector<float> anchors(static_cast<std::size_t>(rows), -infinity);
  AlignedVector<float> score(static_cast<std::size_t>(rows * chunk_keys));
  const std::int64_t from = g.first_visible(row), reach = g.visible(row + rows - 1);
  const auto visit = [&](KeyRange keys) {
    for (std::int64_t key = std::max(from, keys.begin); key < keys.end; key += chunk_keys) {
      const std::int64_t count = std::min(chunk_keys, keys.end - key);
      matrix_ops().gemm_nt(rows, count, g.head_dim, official ? 1.f : sigma, q.data(), g.head_dim,
                           head.k + key * g.head_dim, g.head_dim, score.data(), chunk_keys);
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t seen = std::clamp<std::int64_t>(g.visible(row + r) - key, 0, count);
        const float* s = score.data() + r * chunk_keys;
        float& anchor = anchors[static_cast<std::size_t>(r)];
        for (std::int64_t n = std::max<std::int64_t>(0, g.first_visible(row + r) - key); n < seen; ++n)
          anchor = std::max(anchor, s[n]);
      }
    }
  };
  visit({0, hole.size() > 0 ? std::min(hole.begin, reach) : reach});
  if (hole.size() > 0) visit({hole.end, reach});
  return anchors;
}

/// Pooled queries of one group and the means of their rows' anchors.
struct Pooled {
  std::int64_t count = 0;
  AlignedVector<float> q;     ///< [count, head_dim]
  std::vector<float> anchor;  ///< [count]
};

Pooled pool(const AttentionInputs& head, const Windows& windows, std::int64_t g) {
  const Geometry& geometry = head.geometry;
  const std::int64_t dim = geometry.head_dim;
  const std::int64_t begin = g * windows.group, end = std::min(begin + windows.group, geometry.q_len);
  Pooled pooled{.count = (end - begin + windows.b - 1) / windows.b};
  pooled.q.resize(static_cast<std::size_t>(pooled.count * dim));
  std::vector<double> sum(static_cast<std::size_t>(dim));
  for (std::int64_t u = 0; u < pooled.count; ++u) {
    const std::int64_t row = begin + u * windows.b, rows = std::min(windows.b, end - row);
    sum.assign(sum.size(), 0);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* q = head.q_row(0, row + r);
      for (std::int64_t c = 0; c < dim; ++c) sum[static_cast<std::size_t>(c)] += static_cast<double>(q[c]);
    }
    for (std::int64_t c = 0; c < dim; ++c) {
      pooled.q[static_cast<std::size_t>(u * dim + c)] =
          static_cast<float>(sum[static_cast<std::size_t>(c)] / static_cast<double>(rows));
    }
    double mean = 0;
    if (windows.anchor != "none") {
      const KeyRange hole = windows.anchor == "global" ? KeyRange{} : windows.hole(g);
      for (std::int64_t r = 0; r < rows; r += 128) {  // parts: a block may be long
        for (const float a :
             row_anchors(head, row + r, std::min<std::int64_t>(128, rows - r), hole, windows.official))
          mean += static_cast<double>(a);
      }
      mean /= static_cast<double>(rows);
    }
    pooled.anchor.push_back(static_cast<float>(mean));
  }
  if (windows.official) {
    for (float& x : pooled.q) x = round_bf16(x);
    for (float& x : pooled.anchor) x = round_bf16(x);
  }
  return pooled;
}

/// Calls use(candidate, mean anchor, score) for every candidate key of a group and every pooled query of
/// which some row sees it.
template <class Use>
void visit_scores(const AttentionInputs& head, const Windows& windows, std::int64_t g, const Use& use) {
  const KeyRange keys = windows.candidates(g);
  if (keys.size() == 0) return;
  const Geometry& geometry = head.geometry;
  const auto scale = static_cast<float>(geometry.softmax_scale) * (windows.official ? log2e : 1.f);
  const Pooled pooled = pool(head, windows, g);
  AlignedVector<float> score(static_cast<std::size_t>(pooled.count * chunk_keys));
  for (std::int64_t key = keys.begin; key < keys.end; key += chunk_keys) {
    const std::int64_t count = std::min(chunk_keys, keys.end - key);
    matrix_ops().gemm_nt(pooled.count, count, geometry.head_dim, scale, pooled.q.data(), geometry.head_dim,
                         head.k + key * geometry.head_dim, geometry.head_dim, score.data(), chunk_keys);
    for (std::int64_t u = 0; u < pooled.count; ++u) {
      const float anchor = pooled.anchor[static_cast<std::size_t>(u)];
      const std::int64_t hidden = geometry.first_visible(g * windows.group + u * windows.b) - key;
      for (std::int64_t n = std::max<std::int64_t>(0, hidden); n < count; ++n)
        use(static_cast<std::size_t>(key - keys.begin + n), anchor,
            score[static_cast<std::size_t>(u * chunk_keys + n)]);
    }
  }
}

/// The critical theta of every candidate key of a group: t = min over the group's pooled queries of (anchor -
/// score). The key is selected exactly when t <= theta, so plans and curves that read these numbers agree bit
/// for bit (section 2.3: the minimum satisfies the inequality iff some pooled query does).
std::vector<float> critical_theta(const AttentionInputs& head, const Windows& windows, std::int64_t g) {
  std::vector<float> critical(static_cast<std::size_t>(windows.candidates(g).size()), infinity);
  visit_scores(head, windows, g, [&](std::size_t n, float anchor, float score) {
    critical[n] = std::min(critical[n], anchor - score);
  });
  return critical;
}

/// Which candidates of a group are selected.
std::vector<bool> selected_keys(const AttentionInputs& head, const Windows& windows, std::int64_t g,
                                float theta) {
  std::vector<bool> selected(static_cast<std::size_t>(windows.candidates(g).size()), false);
  if (windows.official) {
    visit_scores(head, windows, g, [&](std::size_t n, float anchor, float score) {
      if (round_bf16(score) + theta * log2e >= anchor) selected[n] = true;
    });
    return selected;
  }
  const std::vector<float> critical = critical_theta(head, windows, g);
  for (std::size_t n = 0; n < critical.size(); ++n) selected[n] = critical[n] <= theta;
  return selected;
}

SparsePlan plan_anchor(const AttentionInputs& inputs, const PlanRequest& request) {
  const Geometry& geometry = inputs.geometry;
  const Windows windows(request.params, geometry);
  SparsePlan plan{.geometry = geometry,
                  .q_tile = static_cast<int>(windows.b),
                  .kv_tile = static_cast<int>(windows.b),
                  .tiles_per_row = static_cast<int>(windows.step)};
  std::vector<std::vector<std::int32_t>> selected(static_cast<std::size_t>(plan.rows()));
  parallel_for(plan.rows(), [&](std::int64_t task) {
    const std::int64_t row = plan.rows() - 1 - task;  // late groups have the most candidates
    const int head = static_cast<int>(row / plan.groups());
    const std::int64_t g = row % plan.groups();
    const auto theta = static_cast<float>(request.knob("theta", head));
    const std::vector<bool> keys = selected_keys(inputs.head(head), windows, g, theta);
    for (std::size_t n = 0; n < keys.size(); ++n) {
      if (keys[n])
        selected[static_cast<std::size_t>(row)].push_back(
            static_cast<std::int32_t>(windows.candidates(g).begin + static_cast<std::int64_t>(n)));
    }
  });
  for (std::int64_t row = 0; row < plan.rows(); ++row) {
    const std::int64_t g = row % plan.groups(), end = plan.group_end(g);
    const KeyRange hole = windows.hole(g);
    append_run(plan, 0, hole.size() > 0 ? hole.begin : end, end);
    if (hole.size() > 0) append_run(plan, hole.end, end, end);
    for (const std::int32_t j : selected[static_cast<std::size_t>(row)]) {
      (j < hole.begin || j >= hole.end ? plan.dup : plan.columns).items.push_back(j);
    }
    plan.blocks.end_row();
    plan.columns.end_row();
    if (windows.v4) plan.dup.end_row();
    selected[static_cast<std::size_t>(row)] = {};
  }
  return plan;
}

CriticalItems critical_anchor(const AttentionInputs& inputs, int q_head, const Params& params,
                              const MassMap& mass) {
  const AttentionInputs head = inputs.head(q_head);
  const Geometry& geometry = head.geometry;
  const Windows windows(params, geometry);
  CriticalItems items{.causal_pairs = geometry.causal_pairs(), .query_rows = geometry.q_len};
  items.forced_pairs = items.causal_pairs;
  items.forced_mass = static_cast<double>(geometry.q_len);
  std::vector<std::vector<float>> critical(static_cast<std::size_t>(mass.groups()));
  parallel_for(mass.groups(), [&](std::int64_t g) {
    critical[static_cast<std::size_t>(g)] = critical_theta(head, windows, g);
  });
  for (std::int64_t g = 0; g < mass.groups(); ++g) {
    const std::int64_t begin = g * windows.group, end = std::min(begin + windows.group, geometry.q_len);
    const float* column_mass = mass.column_row(g);
    const KeyRange hole = windows.hole(g), keys = windows.candidates(g);
    for (std::int64_t j = hole.begin; j < hole.end; ++j) {
      items.forced_pairs -= geometry.rows_that_see(j, begin, end);
      items.forced_mass -= static_cast<double>(column_mass[j]);
    }
    for (std::int64_t j = std::max(hole.begin, keys.begin); j < std::min(hole.end, keys.end); ++j) {
      items.knob.push_back(critical[static_cast<std::size_t>(g)][static_cast<std::size_t>(j - keys.begin)]);
      items.pairs.push_back(static_cast<std::int32_t>(geometry.rows_that_see(j, begin, end)));
      items.mass.push_back(column_mass[j]);
      items.place(begin, end, j);
    }
  }
  return items;
}

}  // namespace

Method anchor_method() {
  using Kind = ParamSpec::Kind;
  constexpr double unbounded = std::numeric_limits<double>::infinity();
  const auto choice = [](std::string name, std::vector<std::string> choices, std::string help) {
    return ParamSpec{.name = std::move(name),
                     .kind = Kind::choice,
                     .default_value = choices[0],
                     .choices = choices,
                     .help = std::move(help)};
  };
  const ParamSpec tail{
      .name = "tail",
      .kind = Kind::integer,
      .default_value = "auto",
      .maximum = most_tail,
      .choices = {"auto", "sparse", "dense"},
      .help =
          "last query rows that keep all keys, in whole groups; or what a partial last group "
          "keeps: auto = sparse in clean, dense in v4"};
  return {
      .name = "anchor",
      .title = "AnchorAttention: Difference-Aware Sparse Attention with Stripe Granularity",
      .arxiv = "2505.23520",
      .knob = "theta",
      .params = {{.name = "theta",
                  .default_value = 12.,
                  .minimum = -unbounded,
                  .maximum = unbounded,
                  .help = "slack below the anchor, natural-log units"},
                 {.name = "block",
                  .kind = Kind::integer,
                  .default_value = 128.,
                  .minimum = 1,
                  .maximum = most_block,
                  .help =
                      "query rows per pooled query; also the initial block and the key tile; at most 32768"},
                 {.name = "step",
                  .kind = Kind::integer,
                  .default_value = 16.,
                  .minimum = 1,
                  .maximum = most_block,
                  .help = "blocks per group; a group shares one list of stripes; at most 32768"},
                 choice("mode", {"clean", "v4"},
                        "clean: windows partition the keys; v4: as the released code"),
                 tail,
                 choice("anchor", {"window", "none", "global"},
                        "row anchor: over initial block and local window; none: 0; global: over all keys"),
                 rounding_param("bfloat16 queries, anchors and scores, in log2 units")},
      .plan_cpu = plan_anchor,
      .granularity =
          [](const Params& params, const Geometry&) {
            if (official_rounding(params)) fail_usage("anchor: exact curves need rounding=exact");
            return MassGranularity{.group_rows = params.integer("block") * params.integer("step")};
          },
      .critical_cpu = critical_anchor};
}

}  // namespace anchor
