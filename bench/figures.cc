#include "bench/figures.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

namespace ocicat::bench {

namespace {

double status_mb(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::strtod(line.c_str() + field.size() + 1, nullptr) / 1024;
  }
  return 0;
}

std::map<std::string, std::string, std::less<>> unit_by_figure;

class FigureReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const auto& run : runs) {
      if (run.error_occurred) {
        std::fprintf(stderr, "%s: %s\n", run.benchmark_name().c_str(), run.error_message.c_str());
        failed_ = true;
      }
      for (const auto& [name, counter] : run.counters) {
        std::printf("%s %.6g %s\n", name.c_str(), counter.value, unit_by_figure[name].c_str());
      }
      std::fflush(stdout);
    }
  }
  bool failed() const { return failed_; }

 private:
  bool failed_ = false;
};

}  // namespace

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double resident_mb() {
  return status_mb("VmRSS:");
}

double peak_mb() {
  return status_mb("VmHWM:");
}

void reset_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";
}

double percentile(std::vector<double> values, double part) {
  std::ranges::sort(values);
  const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size()));
  return values[std::min(at, values.size() - 1)];
}

void figure(benchmark::State& state, std::string_view name, double value, std::string_view unit) {
  unit_by_figure.insert_or_assign(std::string{name}, std::string{unit});
  state.counters[std::string{name}] = value;
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  FigureReporter reporter;
  const auto count = benchmark::RunSpecifiedBenchmarks(&reporter);
  return count > 0 && !reporter.failed() ? 0 : 1;
}

}  // namespace ocicat::bench
