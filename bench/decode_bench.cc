// Lines of a watch as a server sends them, to typed resources: what the agent does with each before the
// engine sees it.
#include <string>
#include <vector>

#include "api/client/wire.h"
#include "api/server/stored_text.h"
#include "base/large_pages.h"
#include "bench/documents.h"
#include "bench/figures.h"
#include "resources/decode.h"
#include "test/support/shapes/baseline_policy.h"
#include "test/support/shapes/isolated_customers.h"
#include "test/support/shapes/netset_policies.h"

namespace ocicat::bench {
namespace {

std::string line_of(const test::Item& item) {
  std::string line = R"({"type":"ADDED","object":)";
  api::append_object(line, document_of(item), 12'345'678);
  return line + "}";
}

struct Stream {
  const char* what;
  std::vector<std::string> lines;
  std::size_t bytes = 0;

  void add(const test::Item& item) {
    lines.push_back(line_of(item));
    bytes += lines.back().size();
  }
};

std::vector<Stream> streams() {
  std::vector<Stream> all{{"endpoints (S1)", {}},
                          {"policies (S1)", {}},
                          {"network sets (S2)", {}},
                          {"tenants (S3)", {}},
                          {"policies (S5)", {}}};
  const test::TagPolicies tags;
  for (unsigned i = 0; i < 20'000; ++i) all[0].add(tags.endpoint(i));
  for (unsigned i = 0; i < 5'000; ++i) all[1].add(tags.policy(i));
  for (unsigned i = 0; i < 2'000; ++i) all[2].add(test::NetsetPolicies::set(i));
  const test::IsolatedCustomers customers;
  for (unsigned i = 0; i < 5'000; ++i) {
    all[3].add(customers.profile(i));
    all[3].add(customers.policy(i));
    all[3].add(customers.pod(i));
  }
  const test::BaselinePolicy baseline;
  for (unsigned i = 0; i < baseline.policies; ++i) all[4].add(baseline.policy(i));
  return all;
}

void decode_watch(benchmark::State& state) {
  const auto all = streams();
  for (auto _ : state) {
    std::vector<std::vector<double>> rates(all.size());
    for (int round = 0; round < 9; ++round) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        double seconds = 0;
        timed(seconds, [&] {
          for (const auto& line : all[i].lines) {
            const auto event = api::parse_event(line);
            CHECK(event.has_value());
            const auto key = key_of(event->object);
            CHECK(key.has_value());
            auto resource = decode(key->kind, event->object);
            CHECK(resource.has_value());
            benchmark::DoNotOptimize(resource);
          }
          return 0;
        });
        rates[i].push_back(static_cast<double>(all[i].bytes) / 1e6 / seconds);
      }
    }
    double slowness = 0;  // of a stream with as many bytes of each
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto rate = percentile(rates[i], 0.5);
      std::fprintf(stderr, "%s: %.1f MB, %.0f MB/s\n", all[i].what, static_cast<double>(all[i].bytes) / 1e6,
                   rate);
      slowness += 1 / rate;
    }
    figure(state, "engine-decode", static_cast<double>(all.size()) / slowness, "MB/s");
  }
}

BENCHMARK(decode_watch)->Iterations(1);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
