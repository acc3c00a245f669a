// What a verdict of the nftables dataplane costs: a UDP datagram that opens a flow and is refused at its
// receiver, sender, connection tracking and both verdicts included. Needs root.
//
// Prints lines `figure value unit`.
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>

#include "base/unique_fd.h"
#include "netns/agent_host.h"
#include "netns/testbed.h"

namespace ocicat {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRounds = 60;
constexpr int kDatagrams = 1'000;
constexpr std::uint32_t kNets = 1'000;

// The least of many rounds: whatever else the machine does only ever adds.
double microseconds_each(int socket) {
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto begin = Clock::now();
    for (int i = 0; i < kDatagrams; ++i) CHECK(::send(socket, "x", 1, 0) == 1);
    const std::chrono::duration<double, std::micro> took = Clock::now() - begin;
    least = std::min(least, took.count() / kDatagrams);
  }
  return least;
}

double datagram_from(const test::Station& sender, const IpAddress& to) {
  double each = 0;
  sender.ns().run([&] {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(7000);
    std::ranges::copy(std::span(to.bytes()).last(4), reinterpret_cast<std::uint8_t*>(&address.sin_addr));
    CHECK(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    each = microseconds_each(socket.get());
  });
  return each;
}

void measure() {
  test::Testbed bed;
  auto& receiver = bed.add_pod("r", "10.65.0.2", "fd00:65::2");
  const std::array senders{&bed.add_pod("a", "10.65.0.3", "fd00:65::3"),
                           &bed.add_pod("b", "10.65.0.4", "fd00:65::4"),
                           &bed.add_pod("c", "10.65.0.5", "fd00:65::5")};
  auto state = test::first_state(1);
  test::add_pod(state, "r", receiver, test::kWebFromClass1, test::kAllowAll);
  for (const auto* sender : senders)
    test::add_pod(state, sender->interface(), *sender, test::kAllowAll, test::kAllowAll);
  const auto host = [&](const test::Station& pod) { return Prefix::host(pod.address(Family::kIpv4)); };
  state.tables.classes.update(host(receiver), policy::ClassId{2});
  state.tables.classes.update(host(*senders[0]), policy::ClassId{1});
  state.tables.classes.update(host(*senders[1]), policy::ClassId{2});
  for (std::uint32_t i = 0; i < kNets; ++i)
    state.tables.classes.update({IpAddress::v4(0xc0000000 + (i << 8)), 24}, policy::ClassId{3 + i % 10});
  test::AgentHost agent(bed);
  agent.put(std::move(state));
  agent.await_revision(1);
  constexpr std::array kNames{"nft-verdict-table", "nft-verdict-base", "nft-verdict-stranger"};
  for (std::size_t i = 0; i < senders.size(); ++i) {
    fmt::print("{} {:.2f} us\n", kNames[i], datagram_from(*senders[i], receiver.address(Family::kIpv4)));
  }
}

}  // namespace
}  // namespace ocicat

int main() {
  ocicat::measure();
}
