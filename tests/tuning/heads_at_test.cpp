#include "anchor/tuning/heads_at.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace anchor;

namespace {

std::vector<HeadAt> random_points(std::size_t count) {
  std::mt19937 rng(3);
  std::uniform_real_distribution<double> share(0, 1);
  std::vector<HeadAt> points;
  for (std::size_t n = 0; n < count; ++n)
    points.push_back({.knob = share(rng),
                      .density = share(rng),
                      .mass_recall = share(rng),
                      .work_density = share(rng),
                      .out_rel_l2 = share(rng)});
  return points;
}

const Target recall{"mass_recall", "mean", 0.9}, error{"out_rel_l2", "mean", 0.1};

}  // namespace

TEST_CASE("means over some heads are those of these heads alone, and the worst one is among them") {
  const std::vector<HeadAt> points = random_points(20);
  const std::vector<std::size_t> which{3, 4, 9, 17};
  for (const Target& target : {recall, error}) {
    const HeadMeans means = HeadMeans::of(points, which, target);
    double density = 0, kept = 0, work = 0, l2 = 0;
    for (const std::size_t h : which) {
      density += points[h].density;
      kept += points[h].mass_recall;
      work += *points[h].work_density;
      l2 += *points[h].out_rel_l2;
      CHECK(loss(target, points[h]) <= means.worst_loss);
    }
    CHECK(means.density == doctest::Approx(density / 4));
    CHECK(means.mass_recall == doctest::Approx(kept / 4));
    CHECK(*means.work_density == doctest::Approx(work / 4));
    CHECK(*means.out_rel_l2 == doctest::Approx(l2 / 4));
    CHECK(std::find(which.begin(), which.end(), means.worst_head) != which.end());
    CHECK(means.worst_loss == loss(target, points[means.worst_head]));
    CHECK(means.loss(target) == doctest::Approx(target.metric == "mass_recall" ? 1 - kept / 4 : l2 / 4));
  }
}

TEST_CASE("means over all heads are those of the heads together") {
  HeadsAt all{.knob = {}, .heads = random_points(7)};
  std::vector<std::size_t> every(7);
  for (std::size_t h = 0; h < 7; ++h) every[h] = h;
  for (const Target& target : {recall, error}) {
    const HeadMeans means = HeadMeans::of(all.heads, every, target);
    CHECK(means.density == doctest::Approx(all.mean_density()));
    CHECK(means.loss(target) == doctest::Approx(all.mean_loss(target)));
  }
}

TEST_CASE("output errors are unknown if one head's plan was not run") {
  std::vector<HeadAt> points = random_points(3);
  points[1].out_rel_l2.reset();
  points[1].work_density.reset();
  const std::vector<std::size_t> all{0, 1, 2}, others{0, 2};
  CHECK_FALSE(HeadMeans::of(points, all, recall).out_rel_l2);
  CHECK_FALSE(HeadMeans::of(points, all, recall).work_density);
  CHECK(HeadMeans::of(points, others, recall).out_rel_l2);
}

TEST_CASE("a loss reads back as its metric") {
  const HeadAt point{.mass_recall = 0.875, .out_rel_l2 = 0.25};
  CHECK(metric_of_loss(recall, loss(recall, point)) == 0.875);
  CHECK(metric_of_loss(error, loss(error, point)) == 0.25);
}
