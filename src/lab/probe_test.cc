// Wiring and probe over real namespaces. Routes, which are the agent's work, are put in by hand.
#include "lab/probe.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <thread>

#include "kernel/workload_links.h"
#include "lab/fabric.h"
#include "lab/layout.h"
#include "lab/listener.h"
#include "lab/netns.h"
#include "lab/process.h"
#include "lab/wiring.h"
#include "resources/decode.h"
#include "test/support/own_name.h"

namespace ocicat::lab {
namespace {

template <class T>
T must(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().message;
  return std::move(result).value();
}

void must(const Result<void>& result) {
  if (!result) ADD_FAILURE() << result.error().message;
}

// One listener inside a namespace, for as long as this lives.
class ListenerThread {
 public:
  ListenerThread(const std::string& network_namespace, const std::string& ports) {
    std::array<int, 2> ready{};
    std::array<int, 2> stop{};
    if (pipe(ready.data()) != 0 || pipe(stop.data()) != 0) throw std::runtime_error("pipe");
    stop_read_ = UniqueFd(stop[0]);
    stop_write_ = UniqueFd(stop[1]);
    const UniqueFd ready_read(ready[0]);
    thread_ = std::thread([=, this, end = ready[1]] {
      must(enter_namespace(network_namespace));
      must(run_listener(*parse_ports(ports), end, stop_read_.get()));
    });
    char byte = 0;
    EXPECT_EQ(read(ready_read.get(), &byte, 1), 1);
  }
  ~ListenerThread() {
    stop_write_.reset();
    thread_.join();
  }

 private:
  UniqueFd stop_read_;
  UniqueFd stop_write_;
  std::thread thread_;
};

// Two hosts; shop/a and shop/b on the first, shop/c on the second.
class ProbeTest : public testing::Test {
 protected:
  static constexpr const char* kPorts = "tcp/80,udp/53,sctp/81";

  ProbeTest() : layout_(must(Layout::named("unit-" + test::own_name()))) {
    lab_.hosts = 2;
    must(wire_hosts(host_wirings(layout_, lab_)));
    for (const auto& [name, host] : {std::pair("a", "host1"), {"b", "host1"}, {"c", "host2"}})
      add_pod(name, host);
    for (const auto& pod : pods_) add_routes(pod);
  }
  ~ProbeTest() override {
    listeners_.clear();
    for (const auto& name : namespaces()) {
      if (layout_.owns_namespace(name)) must(delete_namespace(name));
    }
  }

  void add_pod(const std::string& name, const std::string& host) {
    PodRecord pod{.ns = "shop",
                  .name = name,
                  .host = host,
                  .service_account = {},
                  .addresses = {},
                  .listens = *parse_ports(kPorts),
                  .container = {}};
    const int number = static_cast<int>(pods_.size()) + 1;
    for (const auto family : kFamilies) pod.addresses.push_back(pod_address(number, family));
    const auto network_namespace = layout_.pod_namespace(pod.ns, pod.name);
    must(create_namespace(network_namespace));
    wire(pod, network_namespace);
    listeners_.push_back(std::make_unique<ListenerThread>(network_namespace, kPorts));
    ends_.push_back({pod.full_name(), network_namespace, pod.addresses, pod.listens});
    pods_.push_back(std::move(pod));
  }

  static std::string interface_of(const PodRecord& pod) { return workload_interface_name(pod.ns, pod.name); }

  void wire(const PodRecord& pod, const std::string& network_namespace) {
    const kernel::WorkloadPair pair{.host_name = interface_of(pod),
                                    .name = "eth0",
                                    .namespace_path = "/run/netns/" + network_namespace,
                                    .mac = {{2, 0, 0, 0, 0, 1}},
                                    .ipv6 = true};
    must(in_namespace(layout_.host_namespace(pod.host), [&]() -> Result<void> {
      kernel::NetlinkWorkloadLinks links;
      TRY_VOID(links.create(pair));
      TRY_VOID(links.address(pair, pod.addresses));
      TRY_VOID(set_sysctl(fmt::format("net/ipv4/conf/{}/proxy_arp", pair.host_name), "1"));
      return set_sysctl(fmt::format("net/ipv4/neigh/{}/proxy_delay", pair.host_name), "0");
    }));
  }

  void add_routes(const PodRecord& pod) {
    for (const auto& host : host_wirings(layout_, lab_)) {
      for (const auto& address : pod.addresses) {
        const auto node = node_address(pod.host == "host1" ? 1 : 2, 0, address.family()).to_string();
        const auto way = host.name == pod.host ? "dev " + interface_of(pod) : "via " + node;
        must(run({"ip", "-n", host.network_namespace, "-batch", "-"},
                 fmt::format("route add {} {}\n", Prefix::host(address).to_string(), way)));
      }
    }
  }

  std::vector<ProbeResult> probe_all(const std::string& traffics, std::chrono::milliseconds patience) {
    return must(probe(ends_, {.traffics = must(views::parse_traffic_list(traffics)), .patience = patience}));
  }

  Layout layout_;
  LabRecord lab_;
  std::vector<PodRecord> pods_;
  std::vector<ProbeEnd> ends_;
  std::vector<std::unique_ptr<ListenerThread>> listeners_;
};

TEST_F(ProbeTest, WithoutPolicyEveryPairAnswersInBothFamilies) {
  const auto results = probe_all("tcp/80,udp/53,sctp/81,icmp,icmpv6", std::chrono::seconds(30));
  EXPECT_EQ(results.size(), 6U * (3 * 2 + 2));
  for (const auto& result : results) {
    EXPECT_EQ(result.answer, Answer::kEcho) << ends_[result.from].name << " " << ends_[result.to].name << " "
                                            << result.traffic.to_string() << " " << to_string(result.answer);
    EXPECT_TRUE(result.allowed);
  }
}

TEST_F(ProbeTest, AClosedPortIsAllowedSinceItsEndItselfRefuses) {
  for (const auto& result : probe_all("tcp/81,udp/54,sctp/82", std::chrono::seconds(30))) {
    EXPECT_EQ(result.answer, Answer::kRefused) << result.traffic.to_string();
    EXPECT_TRUE(result.allowed);
  }
}

TEST_F(ProbeTest, WhatIsDroppedIsDeniedAndNothingElse) {
  const auto target = pods_[2].addresses[0].to_string();
  must(run({"ip", "netns", "exec", layout_.host_namespace("host2"), "nft", "-f", "-"},
           fmt::format("table ip test {{ chain c {{ type filter hook forward priority 0;\n"
                       "ip daddr {0} tcp dport 80 drop\nip daddr {0} udp dport 53 drop\n"
                       "ip daddr {0} sctp dport 81 drop\n}}\n}}\n",
                       target)));
  for (const auto& result : probe_all("tcp/80,udp/53,sctp/81,icmp", std::chrono::seconds(3))) {
    const bool dropped =
        ends_[result.to].name == "shop/c" && result.family == Family::kIpv4 && !result.traffic.is_icmp();
    EXPECT_EQ(result.allowed, !dropped) << result.traffic.to_string() << " " << to_string(result.answer);
    EXPECT_EQ(result.answer, dropped ? Answer::kNone : Answer::kEcho);
  }
}

TEST_F(ProbeTest, ARejectionOnTheWayToAnOpenPortIsDenied) {
  must(run({"ip", "netns", "exec", layout_.host_namespace("host2"), "nft", "-f", "-"},
           "table inet test { chain c { type filter hook forward priority 0;\n"
           "tcp dport 80 reject with tcp reset\nudp dport 53 reject\n}\n}\n"));
  for (const auto& result : probe_all("tcp/80,udp/53", std::chrono::seconds(30))) {
    const bool crosses = ends_[result.to].name == "shop/c" || ends_[result.from].name == "shop/c";
    EXPECT_EQ(result.answer, crosses ? Answer::kRefused : Answer::kEcho);
    EXPECT_EQ(result.allowed, !crosses);
  }
}

TEST_F(ProbeTest, AProbeIsNeverTakenForPartOfAnEarlierOne) {
  const auto traffics = *views::parse_traffic_list("udp/53,sctp/81,icmp,tcp/80");
  const auto ask = [&](std::uint32_t number, std::chrono::milliseconds patience) {
    return must(probe(
        ends_, {.traffics = traffics, .family = Family::kIpv4, .patience = patience, .number = number}));
  };
  for (const auto& result : ask(0, std::chrono::seconds(30))) EXPECT_TRUE(result.allowed);
  for (const auto* host : {"host1", "host2"}) {
    must(run({"ip", "netns", "exec", layout_.host_namespace(host), "nft", "-f", "-"},
             "table ip test { chain c { type filter hook forward priority 0; policy drop;\n"
             "ct state established accept\n}\n}\n"));
  }
  for (const auto& result : ask(1, std::chrono::milliseconds(300))) {
    EXPECT_FALSE(result.allowed) << result.traffic.to_string();
  }
}

TEST_F(ProbeTest, OtherIcmpTypesCannotBeAsked) {
  EXPECT_FALSE(probe(ends_, {.traffics = must(views::parse_traffic_list("icmp/13/0"))}).has_value());
  EXPECT_FALSE(probe(ends_, {.traffics = must(views::parse_traffic_list("47"))}).has_value());
}

}  // namespace
}  // namespace ocicat::lab
