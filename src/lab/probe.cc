#include "lab/probe.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <thread>

#include "lab/netns.h"
#include "lab/probe_round.h"

namespace ocicat::lab {
namespace {

constexpr std::uint8_t kEchoRequest = 8;
constexpr std::uint8_t kEchoRequestV6 = 128;

std::optional<IpAddress> address_of(const ProbeEnd& end, Family family) {
  const auto found = std::ranges::find(end.addresses, family, &IpAddress::family);
  return found == end.addresses.end() ? std::nullopt : std::optional(*found);
}

std::vector<ProbeResult> all_probes(const std::vector<ProbeEnd>& ends, const ProbeOptions& options) {
  std::vector<ProbeResult> probes;
  for (std::size_t from = 0; from < ends.size(); ++from) {
    for (std::size_t to = 0; to < ends.size(); ++to) {
      if (from == to) continue;
      for (const auto& traffic : options.traffics) {
        for (const auto family : kFamilies) {
          if (options.family.value_or(family) != family || traffic.family.value_or(family) != family)
            continue;
          if (!address_of(ends[from], family) || !address_of(ends[to], family)) continue;
          probes.push_back({.from = from, .to = to, .traffic = traffic, .family = family});
        }
      }
    }
  }
  return probes;
}

bool can_be_probed(const views::Traffic& traffic) {
  if (!traffic.is_icmp()) return has_ports(traffic.protocol);
  return traffic.icmp_type == (traffic.protocol == kIcmp ? kEchoRequest : kEchoRequestV6) &&
         traffic.icmp_code == 0;
}

NamedPort as_port(const views::Traffic& traffic) {
  return {.name = {}, .protocol = traffic.is_icmp() ? kIcmp : traffic.protocol, .port = traffic.port};
}

// Two sockets a probe at most, and some for what is open anyway.
std::size_t probes_per_round() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp<std::size_t>((limit.rlim_cur - std::min<rlim_t>(limit.rlim_cur, 128)) / 2, 1, 8192);
}

bool means_allowed(const ProbeEnd& to, const views::Traffic& traffic, Answer answer) {
  if (answer == Answer::kEcho) return true;
  if (answer != Answer::kRefused) return false;
  return std::ranges::none_of(to.listens, [&](const NamedPort& listened) {
    return listened.protocol == traffic.protocol && listened.port == traffic.port;
  });
}

Result<void> run_rounds(const std::vector<ProbeEnd>& ends, const ProbeOptions& options,
                        std::vector<ProbeResult>& probes) {
  const auto size = probes_per_round();
  for (std::size_t first = 0; first < probes.size(); first += size) {
    const auto last = std::min(probes.size(), first + size);
    ProbeRound round(options.patience, options.number);
    for (std::size_t index = first; index < last; ++index) {
      const auto& probe = probes[index];
      round.add({.network_namespace = ends[probe.from].network_namespace,
                 .target = *address_of(ends[probe.to], probe.family),
                 .port = as_port(probe.traffic)});
    }
    TRY(const auto answers, round.run());
    for (std::size_t index = first; index < last; ++index) {
      auto& probe = probes[index];
      probe.answer = answers[index - first];
      probe.allowed = means_allowed(ends[probe.to], probe.traffic, probe.answer);
    }
  }
  return {};
}

}  // namespace

std::string_view to_string(Answer answer) {
  switch (answer) {
    case Answer::kEcho:
      return "echo";
    case Answer::kRefused:
      return "refused";
    case Answer::kUnreachable:
      return "unreachable";
    case Answer::kNone:
      return "none";
  }
  return "";
}

Result<void> check_can_be_probed(const views::Traffic& traffic) {
  if (can_be_probed(traffic)) return {};
  return fail(ErrorCode::kInvalid, "{} cannot be probed: only TCP, UDP, SCTP and ICMP echo requests can",
              traffic.to_string());
}

Result<std::vector<ProbeResult>> probe(const std::vector<ProbeEnd>& ends, const ProbeOptions& options) {
  for (const auto& traffic : options.traffics) TRY_VOID(check_can_be_probed(traffic));
  auto probes = all_probes(ends, options);
  Result<void> done;
  // A thread of its own, since it ends up in somebody else's namespace.
  std::thread([&] { done = run_rounds(ends, options, probes); }).join();
  if (!done) return std::unexpected(done.error());
  return probes;
}

std::vector<views::Cell> to_cells(const std::vector<ProbeEnd>& ends,
                                  const std::vector<ProbeResult>& results) {
  std::vector<views::Cell> cells;
  cells.reserve(results.size());
  for (const auto& result : results) {
    cells.push_back({.from = ends[result.from].name,
                     .to = ends[result.to].name,
                     .traffic = result.traffic,
                     .family = result.family,
                     .verdict = result.allowed ? policy::Verdict::kAllow : policy::Verdict::kDeny});
  }
  return cells;
}

}  // namespace ocicat::lab
