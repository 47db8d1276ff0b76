#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "anchor/base/error.hpp"
#include "anchor/base/text_file.hpp"
#include "anchor/method/divergence.hpp"
#include "anchor/method/flexprefill.hpp"
#include "anchor/method/method.hpp"
#include "anchor/method/order.hpp"
#include "anchor/method/param_specs.hpp"

// "Accelerating Prefilling for Long-Context LLMs via Sparse Pattern Sharing", arXiv 2505.19578
// (opas-lab/SharePrefill): FlexPrefill, except that the first head of a cluster runs dense and later layers'
// heads of the cluster may take over its pattern.
namespace anchor {
namespace {

constexpr int block = 128;

/// What the dense head of a cluster leaves to the others.
struct Pivot {
  int layer = 0;
  std::vector<float> columns, diagonals;  ///< its profiles
  BlockRows pattern;                      ///< per tile the fewest blocks that reach gamma
  double own_share = 0;                   ///< of its mass on its own vertical-slash blocks (rho)
};

/// Clusters of heads, and the pivots found so far in this prompt.
struct ShareState : ModelState {
  explicit ShareState(const std::string& path) {
    if (path.empty()) return;
    const auto json = nlohmann::json::parse(read_text_file(path), nullptr, false);
    const auto need = [&](bool right, const char* what) {
      if (!right) fail("shareprefill.clusters = {}: {}", path, what);
    };
    need(json.is_object(), "not JSON with clusters {id: [[layer, head], ...]} and shared_clusters [id, ...]");
    const auto ids = json.find("shared_clusters"), all = json.find("clusters");
    need(ids != json.end() && ids->is_array(), "field \"shared_clusters\" is not a list of ids");
    need(all != json.end() && all->is_object(),
         "field \"clusters\" is not an object {id: [[layer, head], ...]}");
    for (const auto& id : *ids) {
      need(id.is_string(), "field \"shared_clusters\" holds something other than texts");
      shared.insert(id.get<std::string>());
    }
    const auto is_index = [](const auto& value) {
      return value.is_number_unsigned() && value.template get<std::uint64_t>() < 1'000'000;
    };
    for (const auto& [id, heads] : all->items()) {
      need(heads.is_array(), "field \"clusters\" holds something other than lists");
      for (const auto& head : heads) {
        need(head.is_array() && head.size() == 2 && is_index(head.front()) && is_index(head.back()),
             "field \"clusters\" holds a head that is not [layer, head]");
        cluster[{head.front().get<int>(), head.back().get<int>()}] = id;
      }
    }
  }

  /// The shared cluster of a head, or nullptr.
  const std::string* shared_cluster(int layer, int head) const {
    const auto found = cluster.find({layer, head});
    return found == cluster.end() || !shared.contains(found->second) ? nullptr : &found->second;
  }

  std::map<std::pair<int, int>, std::string> cluster;  ///< of (layer, head)
  std::set<std::string> shared;
  /// By cluster and the layer's window: layers of a hybrid model share among those of one window.
  std::map<std::pair<std::string, std::int64_t>, Pivot> pivots;
};

/// Mass of each block as a share of its tile's: [tiles][causal blocks].
std::vector<std::vector<float>> block_shares(const AttentionInputs& head, const BlockShape& shape) {
  const MassMap mass = cpu_mass_map(head, shape.granularity());
  std::vector<std::vector<float>> shares;
  for (std::int64_t r = 0; r < shape.tiles(); ++r) {
    const float* row = mass.block_mass.data() + r * mass.blocks();
    shares.emplace_back(row, row + shape.causal_blocks(r));
    for (float& m : shares.back()) m /= static_cast<float>(shape.rows(r));
  }
  return shares;
}

/// Per tile the shortest descending prefix that reaches gamma (the best block alone if rounding never does).
BlockRows pattern_of(const std::vector<std::vector<float>>& shares, double gamma) {
  BlockRows rows;
  for (const auto& share : shares) {
    std::vector<std::int32_t> order = by_score(share);
    double sum = 0;
    std::size_t count = 0;
    while (count < order.size() && sum < gamma)
      sum += static_cast<double>(share[static_cast<std::size_t>(order[count++])]);
    order.resize(sum < gamma || count == 0 ? 1 : count);
    std::sort(order.begin(), order.end());
    rows.push_back(std::move(order));
  }
  return rows;
}

/// The pivot's share of mass on its own vertical-slash blocks. Released code counts a block once per line
/// that crosses it and takes every entry outside the causal part for block (0, 0), whose share is 1.
double share_of(const std::vector<std::vector<float>>& shares, const FlexHead& probed,
                const BlockShape& shape, bool official) {
  double sum = 0;
  const auto tiles = static_cast<std::size_t>(shape.tiles());
  const auto at = [&](std::size_t r, std::size_t c) { return static_cast<double>(shares[r][c]); };
  if (!official) {
    const BlockRows own =
        vertical_slash_blocks(shape, probed.columns, probed.diagonals, probed.vertical, probed.slash);
    for (std::size_t r = 0; r < tiles; ++r) {
      for (const std::int32_t c : own[r]) sum += at(r, static_cast<std::size_t>(c));
    }
    return sum / static_cast<double>(tiles);
  }
  std::vector<float> columns = probed.columns, diagonals = probed.diagonals;
  columns.front() = diagonals.back() = std::numeric_limits<float>::infinity();
  for (const std::int32_t c : top(columns, probed.vertical)) {
    for (std::size_t r = 0; r < tiles; ++r)
      sum += r < static_cast<std::size_t>(c) ? at(0, 0) : at(r, static_cast<std::size_t>(c));
  }
  for (const std::int32_t t : top(diagonals, probed.slash)) {
    const std::size_t distance = tiles - 1 - static_cast<std::size_t>(t);
    for (std::size_t c = 0; c < tiles; ++c) sum += c + distance < tiles ? at(c + distance, c) : at(0, 0);
  }
  return sum / static_cast<double>(tiles);
}

/// One head after the other, pivots kept in `state`.
class Planner {
 public:
  Planner(const AttentionInputs& inputs, const PlanRequest& request, ShareState& state)
      : inputs_(inputs),
        request_(request),
        state_(state),
        shape_(block_shape(inputs.geometry, block, block)) {
    rule_ = share_rule(request.params, shape_.length);
  }

  BlockRows select(int h) {
    if (shape_.length <= std::max<std::int64_t>(2 * block, rule_.least_blocks * block))
      return all_blocks(shape_);
    const AttentionInputs head = inputs_.head(h);
    rule_.gamma = request_.knob("gamma", h);
    const FlexHead probed = flex_probe(head, shape_, rule_);
    const BlockRows least = vertical_slash_blocks(shape_, probed.columns, probed.diagonals,
                                                  rule_.least_blocks, rule_.least_blocks);
    if (probed.query_aware) return unite(least, query_aware_blocks(head, shape_, rule_));
    if (const std::string* cluster = state_.shared_cluster(request_.layer, request_.first_q_head + h)) {
      const std::pair key(*cluster, shape_.window);
      const auto pivot = state_.pivots.find(key);
      if (pivot == state_.pivots.end()) {
        state_.pivots.emplace(key, make_pivot(head, probed));
        return all_blocks(shape_);
      }
      if (shares(pivot->second, probed)) return unite(least, pivot->second.pattern);
    }
    return vertical_slash_blocks(shape_, probed.columns, probed.diagonals, probed.vertical, probed.slash);
  }

 private:
  Pivot make_pivot(const AttentionInputs& head, const FlexHead& probed) const {
    const auto mass = block_shares(head, shape_);
    return {request_.layer, probed.columns, probed.diagonals, pattern_of(mass, rule_.gamma),
            share_of(mass, probed, shape_, request_.params.choice("rho") == "official")};
  }

  /// A pattern exists from the layer after its pivot's on. NaN distances compare false: not shared.
  bool shares(const Pivot& pivot, const FlexHead& probed) const {
    if (pivot.pattern.size() != static_cast<std::size_t>(shape_.tiles()))
      fail("shareprefill: the state belongs to a prompt of another length");
    const double most = request_.params.real("tau_sim");
    const ProbeSpan span(shape_);
    const auto distance = [](const std::vector<float>& a, const std::vector<float>& b, std::int64_t from) {
      const auto first = static_cast<std::size_t>(from);
      return js_distance(std::span(a).subspan(first), std::span(b).subspan(first));
    };
    return pivot.layer < request_.layer && distance(pivot.columns, probed.columns, span.column) < most &&
           distance(pivot.diagonals, probed.diagonals, span.diagonal) < most &&
           pivot.own_share < request_.params.real("phi");
  }

  const AttentionInputs& inputs_;
  const PlanRequest& request_;
  ShareState& state_;
  BlockShape shape_;
  FlexRule rule_;
};

SparsePlan plan_share(const AttentionInputs& inputs, const PlanRequest& request) {
  require_square("shareprefill", inputs.geometry);
  ShareState none("");  // without clusters nothing is shared, and no state is needed
  auto* state = dynamic_cast<ShareState*>(request.state.get());
  if (state == nullptr && !request.params.text("clusters").empty())
    fail_usage("shareprefill.clusters: heads share patterns across layers, which this tool plans separately");
  Planner planner(inputs, request, state == nullptr ? none : *state);
  return plan_blocks(inputs.geometry, block_shape(inputs.geometry, block, block),
                     [&](int head) { return planner.select(head); });
}

}  // namespace

FlexRule share_rule(const Params& params, std::int64_t kv_len) {
  return {.block = block,
          .tau = params.real("tau_qa"),
          .least_blocks = std::max<std::int64_t>(1, (params.integer("min_budget") + block - 1) / block),
          .most_blocks = (kv_len + block - 1) / block,
          .official = official_rounding(params)};
}

Method shareprefill_method() {
  return {
      .name = "shareprefill",
      .title = "Accelerating Prefilling for Long-Context LLMs via Sparse Pattern Sharing",
      .arxiv = "2505.19578",
      .knob = "gamma",
      .params = {real_param("gamma", 0.9, 0, 2, "share of attention that budgets and patterns aim at"),
                 real_param("tau_sim", 0.5, 0, 1, "heads whose profiles are this close to a pivot's share"),
                 real_param("phi", 0.9, 0, 1e9, "pivots that keep this much on lines of their own do not"),
                 real_param("tau_qa", 0.1, 0, 1,
                            "heads whose pooled scores are this close to the probe are query-aware"),
                 tokens_param("min_budget", 1024, 0, "least tokens of columns, and of distances"),
                 text_param("clusters", "JSON file of clusters of heads; empty: nothing is shared"),
                 choice_param("rho", {"unique", "official"},
                              "pivot mass on its lines; official: as released, with repeated blocks"),
                 rounding_param("bfloat16")},
      .plan_cpu = plan_share,
      .model_state = [](const Params& params) {
        return std::make_shared<ShareState>(params.text("clusters"));
      }};
}

}  // namespace anchor
