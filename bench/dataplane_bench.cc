// What the nftables dataplane costs in a real kernel, in a network namespace of its own. Needs root.
//
// Prints lines `figure value unit`.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/large_pages.h"
#include "dataplane/nftables/policy_table.h"
#include "kernel/network_namespace.h"
#include "kernel/nft_kernel.h"

namespace ocicat {
namespace {

using Clock = std::chrono::steady_clock;
using dataplane::PolicyTable;

constexpr std::uint32_t kAddresses = 200'000;
constexpr int kChanges = 5'000;

double microseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

void must(const Result<void>& result) {
  if (result) return;
  fmt::print(stderr, "{}\n", result.error().message);
  std::exit(1);
}

Prefix address(std::uint32_t number) {
  return Prefix::host(IpAddress::v4(0x0a000000 + number));
}

policy::ClassId class_id(std::uint32_t number) {
  return policy::ClassId{1 + number % 500};
}

HostChanges whole_state() {
  HostChanges changes;
  changes.settings.emplace();
  changes.tables.outcomes.update(policy::OutcomeId{1}, {policy::Verdict::kAllow, {}});
  changes.tables.tables.update(policy::TableId{1}, {{{0, policy::kLastTableKey, policy::OutcomeId{1}, {}}}});
  changes.tables.programs.update(policy::ProgramId{1}, {policy::VocabularyId{1}, policy::TableId{1}});
  for (std::uint32_t number = 0; number < kAddresses; ++number) {
    changes.tables.classes.update(address(number), class_id(number));
  }
  return changes;
}

void print(const char* figure, double value, const char* unit) {
  fmt::print("{} {:.3f} {}\n", figure, value, unit);
}

void measure(kernel::nft::Kernel& nft) {
  PolicyTable table(nft);
  const auto whole = whole_state();
  auto start = Clock::now();
  must(table.apply(whole));
  if (const auto loaded = table.resync(); !loaded) must(std::unexpected(loaded.error()));
  print("nft-load-200k", microseconds_since(start) / 1e6, "s");

  std::vector<double> times;
  for (int i = 0; i < kChanges; ++i) {
    const auto number = static_cast<std::uint32_t>(i) * 7919 % kAddresses;
    HostChanges change;
    change.tables.classes.update(address(number), policy::ClassId{1000 + static_cast<std::uint32_t>(i)});
    start = Clock::now();
    must(table.apply(change));
    times.push_back(microseconds_since(start));
  }
  std::ranges::sort(times);
  print("nft-one-of-200k", times[times.size() / 2], "us");
  print("nft-one-of-200k-p99", times[times.size() * 99 / 100], "us");

  // A new agent that finds everything as it should be.
  PolicyTable restarted(nft);
  auto same = whole_state();
  for (int i = 0; i < kChanges; ++i) {
    const auto number = static_cast<std::uint32_t>(i) * 7919 % kAddresses;
    same.tables.classes.update(address(number), policy::ClassId{1000 + static_cast<std::uint32_t>(i)});
  }
  start = Clock::now();
  must(restarted.apply(same));
  const auto wrote = restarted.resync();
  if (!wrote || *wrote) must(fail(ErrorCode::kInternal, "a restart wrote to a kernel that was right"));
  print("nft-adopt-200k", microseconds_since(start) / 1e6, "s");
}

}  // namespace
}  // namespace ocicat

int main() {
  ocicat::use_large_pages();  // as the agent does
  const auto ns = ocicat::kernel::NetworkNamespace::create();
  if (!ns) {
    fmt::print(stderr, "{} (needs root)\n", ns.error().message);
    return 1;
  }
  ns->run([] {
    const auto nft = ocicat::kernel::nft::NetlinkKernel::open("ocicat");
    if (!nft) {
      fmt::print(stderr, "{}\n", nft.error().message);
      std::exit(1);
    }
    ocicat::measure(**nft);
  });
}
