// Which datapath is chosen on a host, by what its kernel and its rules say.
#include "dataplane/datapath_choice.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Circumstances;
using dataplane::Datapath;

class ChoosesDatapath : public testing::Test {
 protected:
  void rules(const std::string& commands) const {
    bed_.host().run([&] { shell(fmt::format("nft '{}'", commands)); });
  }
  dataplane::Choice choice(const kernel::bpf::Abilities& usable) const {
    dataplane::Choice made;
    auto options = pins_.options(Datapath::kNftables);
    options.usable = usable;
    bed_.host().run([&] {
      made = dataplane::decide(options);
      EXPECT_EQ(options.datapath, made.datapath);
      EXPECT_EQ(options.objects != nullptr, made.datapath == Datapath::kEbpf);
    });
    return made;
  }

  Testbed bed_;
  PinFolder pins_;
};

TEST_F(ChoosesDatapath, EbpfWhereTheKernelTakesOurProgramsByLinksOrByFilters) {
  EXPECT_EQ(choice({true, true, true}).datapath, Datapath::kEbpf);
  EXPECT_EQ(choice({true, false, true}).datapath, Datapath::kEbpf);
  EXPECT_EQ(choice({true, false, false}).datapath, Datapath::kEbpf);
  const auto without_types = choice({false, true, true});
  EXPECT_EQ(without_types.datapath, Datapath::kNftables);
  EXPECT_NE(without_types.reason.find("BTF"), std::string::npos) << without_types.reason;
}

TEST_F(ChoosesDatapath, FindsAPlaceForHostEndpointsWhereTheKernelAsksProgramsOrItsRulesDo) {
  for (const auto& [netfilter, asking] : {std::pair(true, false), {false, true}, {false, false}}) {
    auto options = pins_.options(Datapath::kNftables);
    options.usable.netfilter = netfilter;
    options.usable.asking = asking;
    bed_.host().run([&] { dataplane::decide(options); });
    ASSERT_TRUE(options.chosen_by);
    EXPECT_EQ(options.chosen_by->at_host, netfilter || asking);
    options.chosen_by->has_host_endpoints = true;
    EXPECT_EQ(dataplane::choose(*options.chosen_by).datapath,
              netfilter || asking ? Datapath::kEbpf : Datapath::kNftables);
  }
}

TEST_F(ChoosesDatapath, NftablesWhereSomebodyElseTranslatesDestinations) {
  rules(
      "add table ip nat; add chain ip nat in { type nat hook prerouting priority -100; };"
      "add rule ip nat in tcp dport 80 dnat to 10.65.0.9:8080");
  const auto chosen = choice({true, true, true});
  EXPECT_EQ(chosen.datapath, Datapath::kNftables);
  EXPECT_NE(chosen.reason.find("table ip nat"), std::string::npos) << chosen.reason;
  rules("delete table ip nat");
  EXPECT_EQ(choice({true, true, true}).datapath, Datapath::kEbpf);
}

// Nobody can keep anything where a file is in the place of the folder.
TEST_F(ChoosesDatapath, NftablesWhereNothingCanBePinned) {
  auto options = pins_.options(Datapath::kNftables);
  options.pin_folder = "/proc/version/pins";
  dataplane::Choice made;
  bed_.host().run([&] { made = dataplane::decide(options); });
  EXPECT_EQ(made.datapath, Datapath::kNftables);
  EXPECT_NE(made.reason.find("/proc/version"), std::string::npos) << made.reason;
}

// Rules are read again where somebody changes them meanwhile; what cannot be seen speaks for nftables.
TEST_F(ChoosesDatapath, WhileOthersAreBusyWithTheirRules) {
  std::string many = "add table ip busy; add chain ip busy c;";
  for (int i = 0; i < 2'000; ++i) many += fmt::format("add rule ip busy c udp dport {} counter;", i + 1);
  bed_.host().run([&] { shell(fmt::format("echo '{}' | nft -f -", many)); });
  std::atomic<bool> done = false;
  std::thread busy([&] {
    bed_.host().run([&] {
      while (!done) shell("nft 'add rule ip busy c tcp dport 1 counter'");
    });
  });
  for (int i = 0; i < 5; ++i) {
    const auto made = choice({true, true, true});
    EXPECT_TRUE(made.datapath == Datapath::kEbpf || made.reason.find("cannot be seen") != std::string::npos)
        << made.reason;
  }
  done = true;
  busy.join();
}

TEST_F(ChoosesDatapath, AgainWhatCouldNotBeLoadedForWantOfMemory) {
  const dataplane::Choice made = dataplane::choose({.kernel_cannot = "no memory", .may_pass = true});
  EXPECT_EQ(made.datapath, Datapath::kNftables);
  EXPECT_NE(made.reason.find("tried again"), std::string::npos) << made.reason;
}

// What is not enforced there is not even begun there.
TEST_F(ChoosesDatapath, AnotherBeforeAnythingIsWrittenWhereHostEndpointsComeThatTheKernelHasNoPlaceFor) {
  auto& pod = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  auto options = pins_.options(Datapath::kEbpf);
  options.usable.netfilter = options.usable.asking = false;
  options.chosen_by = Circumstances{.at_host = false};
  Mailbox<Circumstances> told;
  AgentHost agent(bed_, std::move(options), [&](const auto& circumstances) { told.put(circumstances); });
  auto changes = first_state(1);
  add_pod(changes, "a", pod, kAllowAll, kAllowAll);
  changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"},
                                HostEndpointState{.id = 1, .interface_name = "uplink"});
  agent.put(std::move(changes));
  const auto circumstances = told.take_within(std::chrono::seconds(60));
  ASSERT_TRUE(circumstances);
  EXPECT_TRUE(circumstances->has_host_endpoints);
  EXPECT_EQ(dataplane::choose(*circumstances).datapath, Datapath::kNftables);
  EXPECT_FALSE(std::filesystem::exists(pins_.path()));
  bed_.host().run([] { shell("! nft list table inet ocicat 2> /dev/null"); });
}

// A look comes every 10 s: far sooner it can only have been told.
constexpr std::chrono::seconds kAtOnce{5};
constexpr const char* kTranslation =
    "add table ip proxy; add chain ip proxy in { type nat hook prerouting priority -100; };"
    "add rule ip proxy in tcp dport 80 dnat to 10.65.0.9:8080";

TEST_F(ChoosesDatapath, AtOnceAnotherWhereATranslationOfOthersComes) {
  auto& pod = bed_.add_pod("a", "10.65.0.2", "fd00:65::2");
  auto options = pins_.options(Datapath::kEbpf);
  options.chosen_by = Circumstances{};
  Mailbox<Circumstances> told;
  AgentHost agent(bed_, std::move(options), [&](const auto& circumstances) { told.put(circumstances); });
  auto changes = first_state(1);
  changes.floating.update(*IpAddress::parse("198.51.100.9"), pod.address(Family::kIpv4));
  add_pod(changes, "a", pod, kAllowAll, kAllowAll);
  agent.apply(std::move(changes));
  rules(
      "add table ip edge; add chain ip edge out { type nat hook postrouting priority 100; };"
      "add rule ip edge out masquerade");
  EXPECT_FALSE(told.take_within(std::chrono::seconds(1))) << "the agent itself, and sources alone";
  rules(kTranslation);
  const auto circumstances = told.take_within(kAtOnce);
  ASSERT_TRUE(circumstances);
  EXPECT_EQ(circumstances->translator, "nftables, table ip proxy");
  EXPECT_EQ(dataplane::choose(*circumstances).datapath, Datapath::kNftables);
}

TEST_F(ChoosesDatapath, NoneWhereSomebodyHasNamedEbpfAndWarns) {
  AgentHost agent(bed_, pins_.options(Datapath::kEbpf));
  agent.apply(first_state(1));
  rules(kTranslation);
  const auto start = std::chrono::steady_clock::now();
  agent.await([](const auto& report) { return report.warning.find("table ip proxy") != std::string::npos; });
  EXPECT_LT(std::chrono::steady_clock::now() - start, kAtOnce);
  rules("delete table ip proxy");
  agent.await([](const auto& report) { return report.warning.empty(); });
}

}  // namespace
}  // namespace ocicat::test
