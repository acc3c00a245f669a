// Shape S1, `s1 --scale X`: at scale 1, 250,000 remote and 200 local endpoints and 10,000 policies. Local
// endpoints stay 200. Input is made in batches that are gone once they are handed in, in the order policies,
// profiles, remote endpoints, local endpoints; their making is not counted.
//
//   engine-s1[-tenth]-time          CPU seconds in Engine::update, until the tables are complete
//   engine-s1[-tenth]-memory        growth of the peak resident set over that, MB
//   engine-s1[-tenth]-label-change  one remote endpoint's marker changes → delta, p99 in microseconds
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/engine.h"

namespace {

using namespace ocicat;

constexpr std::uint64_t kSeed = 20240229;
constexpr int kLocal = 200;
constexpr int kNamespaces = 100;
constexpr int kBatch = 50;
constexpr int kLabelChanges = 5'000;
constexpr std::array kRatios{10, 11, 20, 30, 40};

// 31 entries, 29 of them distinct.
std::string marker(std::size_t i) {
  return fmt::format("marker-{}", i % 31 % 29);
}

Resource policy(int number) {
  NetworkPolicy policy;
  policy.kind = Kind::kGlobalNetworkPolicy;
  policy.metadata.name = fmt::format("policy-{}", number);
  policy.selector = fmt::format("has({})", marker(static_cast<std::size_t>(number)));
  policy.applies_to_ingress = true;
  for (int i = 0; i < 5; ++i) {
    Rule rule;
    rule.source.selector = fmt::format("has({})", marker(static_cast<std::size_t>(number + i)));
    policy.ingress.push_back(std::move(rule));
  }
  return policy;
}

Resource profile(int number) {
  Profile profile;
  profile.metadata.name = fmt::format("kns.namespace-{}", number);
  profile.labels_to_apply["pcns.projectcalico.org/name"] = fmt::format("namespace-{}", number);
  return profile;
}

std::string node_of(int number) {
  return number < 0 ? "local-host" : fmt::format("host-{}", number % 2'500);
}

// Local endpoints have negative numbers.
Resource endpoint(int number, std::size_t marker_number, std::mt19937_64& random) {
  const auto n = static_cast<unsigned>(number < 0 ? -number : number + kLocal + 1);
  WorkloadEndpoint endpoint;
  endpoint.metadata.ns = fmt::format("namespace-{}", n % kNamespaces);
  endpoint.node = node_of(number);
  endpoint.orchestrator = "k8s";
  endpoint.workload = fmt::format("wep-{}", n);
  endpoint.interface_name = fmt::format("cali{}", n);
  endpoint.metadata.name = fmt::format("{}-k8s-wep--{}-eth0", endpoint.node, n);
  const auto seed = random();
  for (const auto ratio : kRatios) {
    endpoint.metadata.labels[fmt::format("one-in-{}", ratio)] =
        fmt::format("value-{}", seed % static_cast<unsigned>(ratio));
  }
  endpoint.metadata.labels[marker(marker_number)] = "true";
  endpoint.addresses = {IpAddress::v4(0x0a000000U + n)};
  endpoint.profiles = {fmt::format("kns.namespace-{}", n % kNamespaces)};
  return endpoint;
}

ResourceKey key_of(const Resource& resource, Kind kind) {
  const auto& metadata =
      std::visit([](const auto& value) -> const Metadata& { return value.metadata; }, resource);
  return {kind, metadata.ns, metadata.name};
}

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// From /proc/self/status, in MB.
double status_mb(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) return std::strtod(line.c_str() + field.size() + 1, nullptr) / 1024;
  }
  return 0;
}

class Load {
 public:
  explicit Load(Engine& engine) : engine_(engine) {}

  void add(Kind kind, const Resource& resource) {
    batch_.update(key_of(resource, kind), resource);
    if (batch_.size() == kBatch) flush();
  }
  void flush() {
    const auto start = cpu_seconds();
    const auto changes = engine_.update(batch_);
    seconds_ += cpu_seconds() - start;
    entries_ += changes.tables.classes.size();
    batch_.clear();
  }
  double seconds() const { return seconds_; }
  std::size_t entries() const { return entries_; }

 private:
  Engine& engine_;
  ResourceChanges batch_;
  double seconds_ = 0;
  std::size_t entries_ = 0;
};

double label_change_p99(Engine& engine, int remote, std::mt19937_64& random) {
  std::vector<double> times;
  for (int i = 0; i < kLabelChanges; ++i) {
    const auto number = static_cast<int>(random() % static_cast<unsigned>(remote));
    ResourceChanges changes;
    const auto resource = endpoint(number, random() % 31, random);
    changes.update(key_of(resource, Kind::kWorkloadEndpoint), resource);
    const auto start = std::chrono::steady_clock::now();
    const auto delta = engine.update(changes);
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    CHECK(delta.tables.classes.size() <= 1 && delta.tables.tables.empty());
  }
  std::ranges::sort(times);
  std::fprintf(stderr, "label change: p50 %.2f us, p99 %.2f us, max %.2f us\n", times[times.size() / 2],
               times[times.size() * 99 / 100], times.back());
  return times[times.size() * 99 / 100];
}

// Brings code and libraries into memory, so that what is counted is the engine's.
void warm_up() {
  std::mt19937_64 random(kSeed);
  Engine engine({.node = "local-host", .dictionary = {}});
  Load load(engine);
  load.add(Kind::kGlobalNetworkPolicy, policy(1));
  load.add(Kind::kProfile, profile(1));
  load.add(Kind::kWorkloadEndpoint, endpoint(1, 1, random));
  load.add(Kind::kWorkloadEndpoint, endpoint(-1, 1, random));
  load.flush();
}

void run_s1(double scale) {
  const auto remote = static_cast<int>(250'000 * scale);
  const auto policies = static_cast<int>(10'000 * scale);
  const auto name = scale == 1 ? std::string{"engine-s1"}
                               : "engine-s1-" + (scale == 0.1 ? "tenth" : fmt::format("{}", scale));
  std::mt19937_64 random(kSeed);
  warm_up();
  std::ofstream("/proc/self/clear_refs") << "5";  // the peak starts here
  const auto before = status_mb("VmRSS:");
  Engine engine({.node = "local-host", .dictionary = {}});
  Load load(engine);
  for (int i = 0; i < policies; ++i) load.add(Kind::kGlobalNetworkPolicy, policy(i));
  for (int i = 0; i < kNamespaces; ++i) load.add(Kind::kProfile, profile(i));
  for (int i = 0; i < remote; ++i)
    load.add(Kind::kWorkloadEndpoint, endpoint(i, static_cast<std::size_t>(i), random));
  load.flush();
  const auto remote_seconds = load.seconds();
  for (int i = 1; i <= kLocal; ++i) {
    load.add(Kind::kWorkloadEndpoint, endpoint(-i, static_cast<std::size_t>(i), random));
  }
  load.flush();
  const auto counters = engine.counters();
  std::fprintf(
      stderr,
      "%zu endpoints (%zu local), %zu of %zu policies active, %zu sets, %zu classes, %zu programs, %zu "
      "tables, "
      "%zu outcomes; %zu class entries; %.3f s of it before the first local endpoint; resident %.1f MB\n",
      counters.endpoints, counters.local_endpoints, counters.active_policies, counters.policies,
      counters.sets, counters.classes, counters.programs, counters.tables, counters.outcomes, load.entries(),
      remote_seconds, status_mb("VmRSS:") - before);
  std::printf("%s-time %.4f s\n", name.c_str(), load.seconds());
  std::printf("%s-memory %.2f MB\n", name.c_str(), status_mb("VmHWM:") - before);
  std::printf("%s-label-change %.2f us\n", name.c_str(), label_change_p99(engine, remote, random));
}

}  // namespace

int main(int argc, char** argv) {
  double scale = 0.1;
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view{argv[i]} == "--scale") scale = std::strtod(argv[i + 1], nullptr);
  }
  if (scale <= 0 || scale > 10) {
    std::fprintf(stderr, "usage: %s s1 [--scale X]\n", argv[0]);
    return 2;
  }
  run_s1(scale);
}
