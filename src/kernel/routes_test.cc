// Links as the real kernel tells of them.
#include "kernel/routes.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <algorithm>

#include "base/command.h"
#include "kernel/network_namespace.h"

namespace ocicat::kernel {
namespace {

class RoutesTest : public testing::Test {
 protected:
  void ip(const std::string& lines) {
    host_.run([&] {
      const auto done = run({"ip", "-batch", "-"}, lines);
      EXPECT_TRUE(done) << done.error().message;
    });
  }
  // One end here, the other in another namespace.
  std::string make(const std::string& name) {
    return fmt::format("link add {0} type veth peer name {0} netns {1}\n", name, other_.path());
  }
  Link link(const std::string& name) {
    Link found;
    host_.run([&] {
      const auto links = NetlinkRoutes::open().value()->links().value();
      found = *std::ranges::find(links, name, &Link::name);
    });
    return found;
  }
  // What has changed meanwhile.
  LinkDoubts heard(const std::function<void()>& change) {
    LinkDoubts links;
    host_.run([&] {
      const auto routes = NetlinkRoutes::open().value();
      auto monitor = RouteMonitor::open(routes->port()).value();
      change();
      links = monitor.read(80).value().links;
    });
    return links;
  }

  NetworkNamespace host_ = NetworkNamespace::create().value();
  NetworkNamespace other_ = NetworkNamespace::create().value();
};

TEST_F(RoutesTest, ALinkThatIsReadAloneIsAsAmongAll) {
  ip("link set lo up\nlink add bridge type bridge\n" + make("first") + make("second") +
     "link set first master bridge\n"
     "link set second up mtu 1400\n"
     "address add 192.0.2.7/24 dev second\n"
     "address add 192.0.2.8/32 dev second\n"
     "address add fd00::7/64 dev second nodad\n"
     "address add 192.0.2.9/32 dev lo\n");
  host_.run([&] {
    const auto routes = NetlinkRoutes::open().value();
    const auto all = routes->links().value();
    ASSERT_EQ(all.size(), 4U);
    for (const auto& link : all) {
      const auto alone = routes->links({link.index});
      ASSERT_TRUE(alone) << alone.error().message;
      EXPECT_EQ(*alone, std::vector{link}) << link.name;
    }
    const auto second = std::ranges::find(all, "second", &Link::name);
    EXPECT_EQ(second->addresses.size(), 3U);
    const auto some = routes->links({all.front().index, all.back().index, 4'000});
    ASSERT_TRUE(some) << some.error().message;
    EXPECT_EQ(*some, (std::vector{all.front(), all.back()}));
  });
}

TEST_F(RoutesTest, TellsOfALinkWithoutFrames) {
  ip("tuntap add dev bare mode tun\n");
  EXPECT_TRUE(link("bare").bare);
  EXPECT_FALSE(link("bare").ethernet);
  EXPECT_FALSE(link("lo").bare);
}

// As kernels tell of them that have any.
TEST(LinkOfAMessage, SaysWhetherItIsAVrfOrInOne) {
  const auto told = [](std::uint16_t kind, std::string_view text) {
    MessageBuilder message;
    message.begin(RTM_NEWLINK, 0, 1, ifinfomsg{});
    const auto info = message.begin_nest(IFLA_LINKINFO);
    message.put_string(kind, text);
    message.end_nest(info);
    message.end();
    const auto bytes = message.bytes();
    return link_of(*reinterpret_cast<const nlmsghdr*>(bytes.data()));
  };
  EXPECT_TRUE(told(IFLA_INFO_KIND, "vrf").vrf);
  EXPECT_FALSE(told(IFLA_INFO_KIND, "vrf").in_vrf);
  EXPECT_TRUE(told(IFLA_INFO_SLAVE_KIND, "vrf").in_vrf);
  EXPECT_FALSE(told(IFLA_INFO_SLAVE_KIND, "bridge").in_vrf);
  EXPECT_FALSE(told(IFLA_INFO_KIND, "veth").vrf);
}

TEST_F(RoutesTest, TellsWhichLinkHasChangedAndOfAllWhereOneHasGone) {
  ip(make("first") + make("second"));
  const auto second = link("second").index;
  for (const auto* change :
       {"link set second up\n", "link set second mtu 1400\n", "link set second down\n",
        "address add 192.0.2.7/32 dev second\n", "address del 192.0.2.7/32 dev second\n"}) {
    const auto links = heard([&] { ip(change); });
    EXPECT_FALSE(links.all) << change;
    EXPECT_EQ(links.some, std::set{second}) << change;
  }
  EXPECT_TRUE(heard([&] { ip("link del first\n"); }).all);
}

// It leads to its peer by another way, or no longer to another namespace.
TEST_F(RoutesTest, TellsOfALinkWhosePeerComesFromElsewhere) {
  ip(make("first"));
  const auto first = link("first");
  ASSERT_TRUE(first.peer_elsewhere);
  const auto doubts = heard([&] {
    other_.run([&] {
      const auto done = run({"ip", "link", "set", "first", "name", "peer", "netns", host_.path()});
      ASSERT_TRUE(done) << done.error().message;
    });
  });
  EXPECT_TRUE(doubts.all || doubts.some.contains(first.index));
  EXPECT_FALSE(link("first").peer_elsewhere);
  EXPECT_TRUE(heard([&] { ip(fmt::format("link set peer netns {}\n", other_.path())); }).all);
}

TEST_F(RoutesTest, FiltersThatLinksShareMayBeAtAny) {
  ip(make("first"));
  const auto tc = [](const std::string& words) {
    const auto done = run({"tc", "-batch", "-"}, words);
    EXPECT_TRUE(done) << done.error().message;
  };
  host_.run([&] { tc("qdisc add dev first ingress_block 1 ingress\n"); });
  const auto doubts = heard([&] { tc("filter add block 1 protocol all u32 match u32 0 0 flowid 1:1\n"); });
  EXPECT_TRUE(doubts.all);
  EXPECT_TRUE(doubts.some.empty());
}

}  // namespace
}  // namespace ocicat::kernel
