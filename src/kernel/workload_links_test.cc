// A workload's interfaces in the real kernel, between two network namespaces.
#include "kernel/workload_links.h"

#include <gmock/gmock.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <optional>
#include <string>
#include <vector>

#include "base/command.h"
#include "kernel/netlink.h"
#include "kernel/network_namespace.h"
#include "kernel/rtnetlink.h"

namespace ocicat::kernel {
namespace {

class WorkloadLinksTest : public testing::Test {
 protected:
  std::vector<IpAddress> addresses_of(int number) {
    return {*IpAddress::parse(fmt::format("10.65.{}.9", number)),
            *IpAddress::parse(fmt::format("fd65::{}:9", number))};
  }
  WorkloadPair pair(int number) {
    return {.host_name = fmt::format("cali{}", number),
            .name = fmt::format("net{}", number),
            .namespace_path = workload_.path(),
            .mac = {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(number)}},
            .ipv6 = true};
  }
  void add(int number) {
    host_.run([&] {
      NetlinkWorkloadLinks links;
      const auto made = links.create(pair(number));
      ASSERT_TRUE(made) << made.error().message;
      const auto given = links.address(pair(number), addresses_of(number));
      ASSERT_TRUE(given) << given.error().message;
      tables_ = *given;
    });
  }
  WorkloadPairState look(int number) {
    std::optional<WorkloadPairState> state;
    host_.run([&] {
      NetlinkWorkloadLinks links;
      state = links.look(pair(number), addresses_of(number)).value();
    });
    return state.value();
  }
  // In a list, for which the kernel does not look anew, unlike when it is asked for one of them.
  std::uint8_t operational_state(int number) {
    std::uint8_t state = 0;
    host_.run([&] {
      auto socket = NetlinkSocket::open(NETLINK_ROUTE).value();
      MessageBuilder request;
      request.begin(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, socket.next_sequence(), ifinfomsg{});
      request.end();
      const auto asked = socket.query(request.bytes(), [&](MessageView message) {
        const auto attributes = Attributes::of_message(message, sizeof(ifinfomsg), IFLA_OPERSTATE + 1);
        if (attributes.text(IFLA_IFNAME) == pair(number).host_name)
          state = attributes.bytes(IFLA_OPERSTATE).front();
      });
      EXPECT_TRUE(asked);
    });
    return state;
  }
  void in_workload(const char* family, const std::string& line) {
    workload_.run([&] {
      const auto done = run({"ip", family, "-batch", "-"}, line + "\n");
      EXPECT_TRUE(done) << done.error().message;
    });
  }

  DefaultTables tables_{};  // of the last that was added
  NetworkNamespace host_ = NetworkNamespace::create().value();
  NetworkNamespace workload_ = NetworkNamespace::create().value();
};

TEST_F(WorkloadLinksTest, AWorkloadHasItsAddressesAloneAndTheHostForItsGateway) {
  using testing::HasSubstr;
  using testing::Not;
  host_.run([&] {
    const auto old = run({"ip", "link", "add", "cali0", "type", "veth", "peer", "name", "old"});
    ASSERT_TRUE(old) << old.error().message;  // it is replaced
  });
  add(0);
  const auto shown = [](std::vector<std::string> words) {
    words.insert(words.begin(), "ip");
    const auto text = run(words);
    EXPECT_TRUE(text) << text.error().message;
    return text.value_or("");
  };
  host_.run([&] {
    EXPECT_THAT(shown({"link", "show", "cali0"}), HasSubstr("ee:ee:ee:ee:ee:ee"));
    EXPECT_THAT(shown({"link", "show"}), Not(HasSubstr("old")));
  });
  workload_.run([&] {
    EXPECT_THAT(shown({"address", "show", "net0"}), HasSubstr("inet 10.65.0.9/32 "));
    EXPECT_THAT(shown({"address", "show", "net0"}), HasSubstr("inet6 fd65::9/128 "));
    EXPECT_THAT(shown({"address", "show", "net0", "tentative"}), Not(HasSubstr("fd65::9")));
    EXPECT_THAT(shown({"route"}), HasSubstr("default via 169.254.1.1 dev net0"));
    EXPECT_THAT(shown({"route"}), HasSubstr("169.254.1.1 dev net0 scope link"));
    EXPECT_THAT(shown({"-6", "route"}), HasSubstr("default via fe80::ecee:eeff:feee:eeee dev net0"))
        << "which the host has by its MAC";
  });
}

TEST_F(WorkloadLinksTest, TheSecondSaysWhichTablesItsDefaultRoutesAreIn) {
  add(0);
  EXPECT_EQ(tables_, DefaultTables{});
  add(1);
  ASSERT_TRUE(tables_[0] != 0 && tables_[1] != 0);
  workload_.run([&] {
    for (const std::size_t i : {0U, 1U}) {
      const auto shown =
          run({"ip", i == 0 ? "-4" : "-6", "route", "show", "default", "table", std::to_string(tables_[i])});
      ASSERT_TRUE(shown) << shown.error().message;
      EXPECT_THAT(*shown, testing::HasSubstr("net1"));
    }
  });
}

// As where an address management plugin names them.
TEST_F(WorkloadLinksTest, RoutesToSomeDestinationsAloneAreInTheMainTableAlsoOfTheSecond) {
  const auto shown = [&](const char* family) {
    std::string text;
    workload_.run([&] { text = run({"ip", family, "route", "show", "dev", "net1"}).value_or("not known"); });
    return text;
  };
  const std::vector destinations{*Prefix::parse("10.66.0.0/16"), *Prefix::parse("fd66::/32")};
  for (const bool second : {false, true}) {
    if (second) add(0);
    auto some = pair(1);
    some.destinations = destinations;
    host_.run([&] {
      NetlinkWorkloadLinks links;
      ASSERT_TRUE(links.create(some));
      const auto given = links.address(some, addresses_of(1));
      ASSERT_TRUE(given) << given.error().message;
      EXPECT_EQ(*given, DefaultTables{});
      const auto state = links.look(some, addresses_of(1)).value();
      EXPECT_TRUE(state->routes4 && state->routes6);
      EXPECT_FALSE(links.look(pair(1), addresses_of(1)).value()->routes4) << "there is no default route";
    });
    EXPECT_THAT(shown("-4"), testing::HasSubstr("10.66.0.0/16 via 169.254.1.1"));
    EXPECT_THAT(shown("-6"), testing::HasSubstr("fd66::/32 via fe80::ecee:eeff:feee:eeee"));
    EXPECT_THAT(shown("-4"), testing::Not(testing::HasSubstr("default")));
    in_workload("-4", "route del 10.66.0.0/16");
    host_.run([&] {
      const auto state = NetlinkWorkloadLinks().look(some, addresses_of(1)).value();
      EXPECT_FALSE(state->routes4);
      EXPECT_TRUE(state->routes6);
    });
  }
}

TEST_F(WorkloadLinksTest, TheHostsSideDropsNothingFromTheMomentThatItIsMade) {
  constexpr std::uint8_t kUp = 6;  // IF_OPER_UP
  for (int number = 0; number < 50; ++number) {
    add(number);
    ASSERT_EQ(operational_state(number), kUp) << number;
  }
}

TEST_F(WorkloadLinksTest, AnAddressOfTheWorkloadsOwnNeedsNoRuleAndThoseThatWereGivenDo) {
  for (const int number : {0, 1}) add(number);
  for (const int number : {0, 1}) {
    in_workload("-4", fmt::format("address add 10.99.{0}.1/32 dev net{0}", number));
    in_workload("-6", fmt::format("address add fd99::{0}:1/128 dev net{0} nodad", number));
    const auto state = look(number);
    EXPECT_EQ(state.addresses.size(), 4U);
    EXPECT_TRUE(state.routes4) << number;
    EXPECT_TRUE(state.routes6) << number;
  }
  in_workload("-4", "rule del from 10.65.1.9");
  EXPECT_FALSE(look(1).routes4);
  EXPECT_TRUE(look(1).routes6);
  in_workload("-6", "rule del from fd65::1:9");
  EXPECT_FALSE(look(1).routes6);
}

TEST_F(WorkloadLinksTest, OfAnInterfaceThatHasGoneNoRuleStaysInTheWorkload) {
  const auto rules = [&] {
    std::string text;
    workload_.run([&] {
      for (const auto* family : {"-4", "-6"}) text += run({"ip", family, "rule"}).value_or("not known");
    });
    return text;
  };
  for (const int number : {0, 1, 2}) add(number);
  const auto before = rules();
  add(3);
  host_.run([&] { EXPECT_TRUE(NetlinkWorkloadLinks().remove("cali3").value()); });
  EXPECT_NE(rules(), before) << "the kernel keeps them";
  host_.run([&] {
    NetlinkWorkloadLinks links;
    auto gone = pair(3);
    gone.namespace_path = "/run/netns/such-as-nobody-made";
    for (const auto& of : {pair(3), pair(3), gone}) {
      const auto removed = links.remove_rules(of, addresses_of(3));
      EXPECT_TRUE(removed) << removed.error().message;
    }
  });
  EXPECT_EQ(rules(), before);
}

}  // namespace
}  // namespace ocicat::kernel
