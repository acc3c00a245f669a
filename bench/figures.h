// Benchmarks that yield named figures: `figure value unit` lines, one form for the whole project.
//
// Google Benchmark runs them; what they measure is reported as counters, and main() prints these instead of
// its table. A benchmark that loads a whole cluster runs once, in a process of its own, so that its memory is
// its own; figures.toml names it by --benchmark_filter.
#pragma once

#include <benchmark/benchmark.h>

#include <string_view>
#include <vector>

namespace ocicat::bench {

// Of this process, user and kernel.
double cpu_seconds();
// Adds the CPU time of `work` to `seconds`.
template <class Work>
auto timed(double& seconds, Work work) {
  const auto start = cpu_seconds();
  auto result = work();
  seconds += cpu_seconds() - start;
  return result;
}

// Resident memory in MB (2^20 bytes); its peak since the last reset_peak().
double resident_mb();
double peak_mb();
void reset_peak();

// 0 to 1; `values` is not empty.
double percentile(std::vector<double> values, double part);

// Says a figure; the last one of a name counts.
void figure(benchmark::State& state, std::string_view name, double value, std::string_view unit);
// main(): runs what the arguments select and prints its figures.
int run(int argc, char** argv);

}  // namespace ocicat::bench
