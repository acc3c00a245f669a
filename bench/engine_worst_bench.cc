// The worst case: no two endpoints look alike to the policies (shapes/no_two_alike.h).
#include <time.h>

#include <random>

#include "base/large_pages.h"
#include "bench/engine_feed.h"
#include "test/support/shapes/no_two_alike.h"

namespace ocicat::bench {
namespace {

double thread_microseconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) * 1e-3;
}

void worst(benchmark::State& state) {
  constexpr unsigned kChanges = 1'000;
  const test::NoTwoAlike shape;
  std::mt19937_64 random(1);
  warm_up();
  for (auto _ : state) {
    reset_peak();
    const auto before = resident_mb();
    Feed feed;
    feed.load(shape);
    feed.describe();
    std::vector<double> times;
    for (unsigned i = 0; i < kChanges; ++i) {
      auto [key, resource] = shape.remote(static_cast<unsigned>(random() % shape.endpoints), i + 1);
      ResourceChanges changes;
      changes.update(std::move(key), std::move(resource));
      const auto start = thread_microseconds();
      const auto delta = feed.engine().update(changes);
      times.push_back(thread_microseconds() - start);
      CHECK(delta.tables.classes.size() == 1);
    }
    std::fprintf(stderr, "change: p50 %.1f us, p99 %.1f us, max %.1f us\n", percentile(times, 0.5),
                 percentile(times, 0.99), percentile(times, 1));
    figure(state, "engine-worst-time", feed.seconds(), "s");
    figure(state, "engine-worst-memory", peak_mb() - before, "MB");
    figure(state, "engine-worst-change", percentile(times, 0.99), "us");
  }
}

BENCHMARK(worst)->Iterations(1);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
