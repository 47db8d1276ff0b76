#include "anchor/data/synthetic.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>

#include "anchor/base/counter_random.hpp"
#include "anchor/base/error.hpp"
#include "anchor/base/parallel.hpp"

namespace anchor {
namespace {

constexpr std::int64_t rows_per_piece = 256;

enum Stream : std::uint64_t {
  columns_s,
  offsets_s,
  importance_s,
  local_s,
  slash_s,
  query_s,
  key_s,
  value_s,
  mirror_s
};

CounterRandom group_random(const SyntheticSpec& spec, int layer, int kv_head) {
  return CounterRandom(spec.seed)
      .stream(static_cast<std::uint64_t>(layer))
      .stream(static_cast<std::uint64_t>(kv_head));
}

// `count` distinct numbers from [begin, end), ascending.
std::vector<std::int64_t> choose(const CounterRandom& random, std::int64_t count, std::int64_t begin,
                                 std::int64_t end) {
  std::vector<std::int64_t> chosen;
  for (std::uint64_t i = 0; static_cast<std::int64_t>(chosen.size()) < count; ++i) {
    const auto pick =
        begin + static_cast<std::int64_t>(random.bits(i) % static_cast<std::uint64_t>(end - begin));
    const auto at = std::lower_bound(chosen.begin(), chosen.end(), pick);
    if (at == chosen.end() || *at != pick) chosen.insert(at, pick);
  }
  return chosen;
}

// x += factor * (unit vector number `index` of the stream).
void add_unit(const CounterRandom& random, std::int64_t index, float factor, std::span<float> x,
              std::span<float> scratch) {
  float norm = 0;
  for (std::size_t c = 0; c < x.size(); ++c) {
    scratch[c] = random.normal(static_cast<std::uint64_t>(index) * x.size() + c);
    norm += scratch[c] * scratch[c];
  }
  const float scale = factor / std::sqrt(norm);
  for (std::size_t c = 0; c < x.size(); ++c) x[c] += scale * scratch[c];
}

// x += factor * (position vector of `position`): neighbours overlap, positions `width` apart do not.
void add_local(const CounterRandom& random, std::int64_t position, std::int64_t width, float factor,
               std::span<float> x, std::span<float> scratch) {
  const std::int64_t spacing = width / 2, knot = position / spacing;
  const float t = static_cast<float>(position % spacing) / static_cast<float>(spacing);
  const float scale = factor / std::sqrt(t * t + (1 - t) * (1 - t));
  add_unit(random, knot, scale * (1 - t), x, scratch);
  if (t > 0) add_unit(random, knot + 1, scale * t, x, scratch);
}

void reflect(std::span<const float> mirror, std::span<float> x) {
  float dot = 0;
  for (std::size_t c = 0; c < x.size(); ++c) dot += mirror[c] * x[c];
  for (std::size_t c = 0; c < x.size(); ++c) x[c] -= 2 * dot * mirror[c];
}

// Query heads of a group share the axes in turn.
int axis_of(int head_in_group, int axes) { return head_in_group % axes; }

}  // namespace

Synthetic::Synthetic(SyntheticSpec spec) : spec_(std::move(spec)), mix_(parse_pattern(spec_.pattern)) {
  if (spec_.layers < 1 || spec_.q_heads < 1 || spec_.kv_heads < 1 || spec_.head_dim < 1 || spec_.kv_len < 1) {
    fail_usage("synthetic: layers, heads, dim and seq must be at least 1");
  }
  if (spec_.q_heads % spec_.kv_heads != 0) {
    fail_usage("synthetic: {} query heads are not a multiple of {} KV heads", spec_.q_heads, spec_.kv_heads);
  }
  if (spec_.q_len == 0) spec_.q_len = spec_.kv_len;
  if (spec_.q_len < 0 || spec_.q_len > spec_.kv_len) {
    fail_usage("synthetic: {} query rows do not fit in {} tokens", spec_.q_len, spec_.kv_len);
  }
  const auto any = [&](auto test) { return std::any_of(mix_.patterns.begin(), mix_.patterns.end(), test); };
  const int axes = std::clamp(spec_.head_dim / 16, 1, spec_.q_heads / spec_.kv_heads);
  int next = 0;
  const auto take = [&](bool used, int size) {
    const Range range{next, used ? size : 0};
    next += range.size;
    return range;
  };
  layout_.sink = take(any([](const PlantedHead& h) { return h.sink.tokens > 0; }), 1);
  layout_.stripes = take(any([](const PlantedHead& h) { return h.stripes.count > 0; }), axes);
  layout_.spread = take(any([](const PlantedHead& h) { return h.spread > 0; }), axes);
  const bool local = any([](const PlantedHead& h) { return h.local.width > 0; });
  const bool slash = any([](const PlantedHead& h) { return h.slash.count > 0; });
  const int share = 2 * (spec_.head_dim - next) / (1 + 2 * (local + slash));  // position vectors need room
  layout_.local = take(local, share);
  layout_.slash = take(slash, share);
  layout_.noise = {next, spec_.head_dim - next};
  if (layout_.noise.size < 1 || ((local || slash) && share < 8)) {
    fail_usage("synthetic: --dim {} is too small for the pattern {:?}", spec_.head_dim, spec_.pattern);
  }
  for (const PlantedHead& head : mix_.patterns) {
    if (head.stripes.count > spec_.kv_len || head.slash.count >= std::max<std::int64_t>(spec_.kv_len, 2)) {
      fail_usage("synthetic: {:?} plants more than {} tokens hold", head.text, spec_.kv_len);
    }
    for (const auto column : head.stripes.at) {
      if (column >= spec_.kv_len)
        fail_usage("synthetic: column {} is past the last of {} tokens", column, spec_.kv_len);
    }
  }
  for (int h = 0; h < spec_.q_heads; ++h) truth(0, h);  // strengths that cannot be had are found now
}

// A given strength, or the least that gives the planted keys their share of the last row's mass.
double Synthetic::strength(const Weight& given, const PlantedHead& head, const char* term) const {
  if (given.strength > 0) return given.strength;
  const std::string_view name = term;
  const double background = std::log(static_cast<double>(spec_.kv_len)) + head.spread * head.spread / 2;
  for (int step = 0; step < 64 * 64; ++step) {
    const double b = step / 64.0;  // a coarse grid: the last bit of std::exp differs between machines
    double planted = 0, noise = 0;
    if (name == "sink") planted = static_cast<double>(head.sink.tokens) * std::exp(b);
    if (name == "stripes") planted = static_cast<double>(head.stripes.count) * std::exp(b);
    if (name == "slash") {
      planted = static_cast<double>(head.slash.count) * std::exp(b);
      noise = b * b * static_cast<double>(head.slash.count) / (2.0 * layout_.slash.size);
    }
    if (name == "local") {
      const auto spacing = static_cast<double>(head.local.width / 2);
      for (double distance = 0; distance < spacing; ++distance) {
        const double t = 1 - distance / spacing;
        planted += std::exp(b * t / std::sqrt(t * t + (1 - t) * (1 - t)));
      }
      noise = b * b / (2.0 * layout_.local.size);
    }
    if (std::log(planted) - background - noise >= std::log(given.share / (1 - given.share))) return b;
  }
  fail_usage("synthetic: --dim {} is too small to plant a {} that outweighs {} tokens; give its strength",
             spec_.head_dim, term, spec_.kv_len);
}

Geometry Synthetic::geometry() const {
  return {spec_.q_heads,
          spec_.kv_heads,
          spec_.q_len,
          spec_.kv_len,
          spec_.kv_len - spec_.q_len,
          spec_.head_dim,
          1 / std::sqrt(static_cast<double>(spec_.head_dim))};
}

LayerInfo Synthetic::layer_info(int layer) const {
  return {.layer = layer,
          .geometry = geometry(),
          .dtype = spec_.dtype,
          .text = {{"truth_json", truth_json(layer)}}};
}

SyntheticTruth Synthetic::truth(int layer, int q_head) const {
  SyntheticTruth truth{mix_.of(std::int64_t{layer} * spec_.q_heads + q_head), {}, {}};
  PlantedHead& head = truth.pattern;
  const int heads = spec_.q_heads / spec_.kv_heads;
  const CounterRandom random = group_random(spec_, layer, q_head / heads);
  if (head.sink.tokens) head.sink.weight.strength = strength(head.sink.weight, head, "sink");
  if (head.local.width) head.local.weight.strength = strength(head.local.weight, head, "local");
  if (head.stripes.count) {
    head.stripes.weight.strength = strength(head.stripes.weight, head, "stripes");
    const int axis = axis_of(q_head % heads, layout_.stripes.size);
    truth.columns = head.stripes.at.empty()
                        ? choose(random.stream(columns_s).stream(static_cast<std::uint64_t>(axis)),
                                 head.stripes.count, 0, spec_.kv_len)
                        : head.stripes.at;
  }
  if (head.slash.count) {
    head.slash.weight.strength = strength(head.slash.weight, head, "slash");
    truth.offsets =
        head.slash.at.empty()
            ? choose(random.stream(offsets_s).stream(static_cast<std::uint64_t>(q_head)), head.slash.count, 1,
                     std::max<std::int64_t>(spec_.kv_len / 2, head.slash.count + 1))
            : head.slash.at;
  }
  return truth;
}

KvGroup Synthetic::group(int layer, int kv_head) const {
  const int heads = spec_.q_heads / spec_.kv_heads, dim = spec_.head_dim;
  KvGroup group{layer, kv_head, kv_head * heads, geometry(), {}, {}, {}};
  Geometry& g = group.geometry;
  g.q_heads = heads;
  g.kv_heads = 1;
  const auto allocate = [&](std::array<std::int64_t, 3> shape) {
    Tensor tensor{spec_.dtype, shape, {}};
    tensor.bytes.resize(static_cast<std::size_t>(tensor.size()) * size_of(spec_.dtype));
    return tensor;
  };
  group.q = allocate({heads, g.q_len, dim});
  group.k = allocate({1, g.kv_len, dim});
  group.v = allocate({1, g.kv_len, dim});

  const CounterRandom random = group_random(spec_, layer, kv_head);
  std::vector<std::vector<float>> mirrors(2, std::vector<float>(static_cast<std::size_t>(dim)));
  std::vector<float> mirror_scratch(static_cast<std::size_t>(dim));
  for (int i = 0; i < 2; ++i) add_unit(random.stream(mirror_s), i, 1, mirrors[i], mirror_scratch);
  std::vector<SyntheticTruth> truths;
  std::vector<std::vector<std::int64_t>> columns(static_cast<std::size_t>(layout_.stripes.size));
  std::int64_t sink_tokens = 0, local_width = 0;
  for (int h = 0; h < heads; ++h) {
    truths.push_back(truth(layer, group.first_q_head + h));
    if (!truths[h].columns.empty()) columns[axis_of(h, layout_.stripes.size)] = truths[h].columns;
  }
  for (const PlantedHead& head : mix_.patterns) {
    sink_tokens = std::max(sink_tokens, head.sink.tokens);
    local_width = std::max(local_width, head.local.width);
  }
  // scaled score = q.k / sqrt(dim): each side carries half of the factor. The noise is split evenly as well.
  const float balance = std::sqrt(std::sqrt(static_cast<float>(dim)));
  const float noise = 1 / std::sqrt(std::sqrt(static_cast<float>(layout_.noise.size)));
  const auto part = [](std::span<float> x, Range range) { return x.subspan(range.begin, range.size); };
  const auto add_noise = [&](const CounterRandom& stream, std::int64_t row, std::span<float> x) {
    for (std::size_t c = 0; c < x.size(); ++c) {
      x[c] += noise * stream.normal(static_cast<std::uint64_t>(row) * x.size() + c);
    }
  };
  const auto store = [&](std::span<float> x, Tensor& tensor, std::int64_t row) {
    for (const auto& mirror : mirrors) reflect(mirror, x);
    for (float& value : x) value *= balance;
    from_float(spec_.dtype, x,
               tensor.bytes.data() + static_cast<std::size_t>(row * dim) * size_of(spec_.dtype));
  };

  const auto make_query = [&](int h, std::int64_t row, std::span<float> x, std::span<float> scratch) {
    const PlantedHead& head = truths[h].pattern;
    const std::int64_t position = g.q_start + row;
    if (head.sink.tokens) x[layout_.sink.begin] = static_cast<float>(head.sink.weight.strength);
    if (head.stripes.count) {
      x[layout_.stripes.begin + axis_of(h, layout_.stripes.size)] =
          static_cast<float>(head.stripes.weight.strength);
    }
    if (head.spread > 0)
      x[layout_.spread.begin + axis_of(h, layout_.spread.size)] = static_cast<float>(head.spread);
    if (head.local.width) {
      add_local(random.stream(local_s), position, local_width, static_cast<float>(head.local.weight.strength),
                part(x, layout_.local), scratch);
    }
    for (const std::int64_t offset : truths[h].offsets) {
      if (offset <= position) {
        add_unit(random.stream(slash_s), position - offset, static_cast<float>(head.slash.weight.strength),
                 part(x, layout_.slash), scratch);
      }
    }
    add_noise(random.stream(query_s).stream(static_cast<std::uint64_t>(h)), position, part(x, layout_.noise));
  };
  const auto make_key = [&](std::int64_t j, std::span<float> x, std::span<float> scratch) {
    if (layout_.sink.size) x[layout_.sink.begin] = j < sink_tokens ? 1.0f : 0.0f;
    for (int axis = 0; axis < layout_.stripes.size; ++axis) {
      const bool planted = std::binary_search(columns[axis].begin(), columns[axis].end(), j);
      x[layout_.stripes.begin + axis] = planted ? 1.0f : 0.0f;
    }
    for (int axis = 0; axis < layout_.spread.size; ++axis) {
      x[layout_.spread.begin + axis] =
          random.stream(importance_s).stream(static_cast<std::uint64_t>(axis)).normal(j);
    }
    if (layout_.local.size)
      add_local(random.stream(local_s), j, local_width, 1, part(x, layout_.local), scratch);
    if (layout_.slash.size) add_unit(random.stream(slash_s), j, 1, part(x, layout_.slash), scratch);
    add_noise(random.stream(key_s), j, part(x, layout_.noise));
  };

  const std::int64_t pieces = (g.kv_len + rows_per_piece - 1) / rows_per_piece;
  parallel_for(pieces, [&](std::int64_t piece) {
    std::vector<float> row(static_cast<std::size_t>(dim)), scratch(row.size());
    const std::int64_t end = std::min(g.kv_len, (piece + 1) * rows_per_piece);
    for (std::int64_t j = piece * rows_per_piece; j < end; ++j) {
      std::fill(row.begin(), row.end(), 0.0f);
      make_key(j, row, scratch);
      store(row, group.k, j);
      const float size = j < sink_tokens ? 0.1f : 1.0f;
      const CounterRandom values = random.stream(value_s);
      for (int c = 0; c < dim; ++c) row[c] = size * values.normal(static_cast<std::uint64_t>(j * dim + c));
      from_float(spec_.dtype, row,
                 group.v.bytes.data() + static_cast<std::size_t>(j * dim) * size_of(spec_.dtype));
      for (int h = 0; h < heads && j >= g.q_start; ++h) {
        std::fill(row.begin(), row.end(), 0.0f);
        make_query(h, j - g.q_start, row, scratch);
        store(row, group.q, h * g.q_len + j - g.q_start);
      }
    }
  });
  return group;
}

std::string Synthetic::truth_json(int layer) const {
  nlohmann::ordered_json heads = nlohmann::ordered_json::array();
  for (int h = 0; h < spec_.q_heads; ++h) {
    const SyntheticTruth head = truth(layer, h);
    nlohmann::ordered_json one{{"head", h}, {"pattern", head.pattern.text}};
    if (head.pattern.sink.tokens)
      one["sink"] = {{"tokens", head.pattern.sink.tokens}, {"strength", head.pattern.sink.weight.strength}};
    if (head.pattern.local.width)
      one["local"] = {{"width", head.pattern.local.width}, {"strength", head.pattern.local.weight.strength}};
    if (!head.columns.empty())
      one["stripes"] = {{"columns", head.columns}, {"strength", head.pattern.stripes.weight.strength}};
    if (!head.offsets.empty())
      one["slash"] = {{"offsets", head.offsets}, {"strength", head.pattern.slash.weight.strength}};
    if (head.pattern.spread > 0) one["spread"] = head.pattern.spread;
    heads.push_back(std::move(one));
  }
  return heads.dump();
}

}  // namespace anchor
