// S5, the policy of a large production cluster, 19,992 rules: compiled for a new endpoint; one verdict of the
// evaluator; one lookup in the tables. Once with one port in all rules, once with a thousand.
#include "base/large_pages.h"
#include "bench/engine_feed.h"
#include "policy/evaluator.h"
#include "policy/simulator.h"
#include "test/support/shapes/baseline_policy.h"

namespace ocicat::bench {
namespace {

using policy::Direction;

// TCP from a stranger to a port that no rule names: all rules are asked, none matches.
policy::Packet unmatched(const IpAddress& to) {
  policy::Packet packet;
  packet.protocol = kTcp;
  packet.source = *IpAddress::parse("192.0.2.10");
  packet.destination = to;
  packet.source_port = 45'000;
  packet.destination_port = 8'080;
  return packet;
}

void s5(benchmark::State& state) {
  const test::BaselinePolicy shape{.ports = static_cast<unsigned>(state.range(0))};
  const std::string name = state.range(0) == 1 ? "engine-s5" : "engine-s5-ports";
  policy::Snapshot snapshot;
  shape.each([&](test::Item item) { snapshot.insert_or_assign(item.key, item.resource); });
  for (auto _ : state) {
    std::vector<double> first, again;
    HostState host;
    AddressPrograms own;
    for (int round = 0; round < 5; ++round) {
      Feed feed;
      feed.load(shape);
      const auto endpoint = shape.endpoint(1);
      double seconds = 0;
      ResourceChanges changes;
      changes.update(endpoint.key, endpoint.resource);
      auto delta = timed(seconds, [&] { return feed.engine().update(changes); });
      first.push_back(seconds * 1000);
      if (round == 0) {
        feed.describe();
        delta.apply_to(host);
        own = host.endpoints.at(endpoint.key).addresses.front();
        snapshot.insert_or_assign(endpoint.key, endpoint.resource);
      }
      // Another endpoint, with a program of its own: one policy more.
      auto other = shape.endpoint(2);
      std::get<WorkloadEndpoint>(other.resource).metadata.labels["other"] = "true";
      feed.update(test::allow_from("for-the-other", "has(other)", {"has(other)"}));
      changes.clear();
      changes.update(other.key, other.resource);
      seconds = 0;
      timed(seconds, [&] { return feed.engine().update(changes); });
      again.push_back(seconds * 1000);
    }
    std::fprintf(stderr, "first endpoint %.1f ms, one more program %.1f ms\n", percentile(first, 0.5),
                 percentile(again, 0.5));
    figure(state, name + "-compile", percentile(again, 0.5), "ms");
    figure(state, name + "-first", percentile(first, 0.5), "ms");

    const policy::Evaluator evaluator(snapshot);
    const auto key = shape.endpoint(1).key;
    const auto packet = unmatched(own.address);
    const policy::Outcome expected = evaluator.evaluate(key, Direction::kIngress, packet);
    std::vector<double> verdicts;
    for (int i = 0; i < 50; ++i) {
      double seconds = 0;
      timed(seconds, [&] { return evaluator.evaluate(key, Direction::kIngress, packet); });
      verdicts.push_back(seconds * 1000);
    }
    figure(state, name + "-verdict", percentile(verdicts, 0.5), "ms");

    const policy::Simulator simulator(host.tables);
    CHECK(simulator.lookup(own.ingress, packet.source, packet) == expected);
    constexpr int kLookups = 200'000;
    double seconds = 0;
    timed(seconds, [&] {
      for (int i = 0; i < kLookups; ++i) {
        benchmark::DoNotOptimize(&simulator.lookup(own.ingress, packet.source, packet));
      }
      return 0;
    });
    figure(state, name + "-lookup", seconds / kLookups * 1e9, "ns");
  }
}

BENCHMARK(s5)->Arg(1)->Arg(1'000)->Iterations(1);

}  // namespace
}  // namespace ocicat::bench

int main(int argc, char** argv) {
  ocicat::use_large_pages();  // as the agent does
  return ocicat::bench::run(argc, argv);
}
