// Whoever leads packets elsewhere is found in a real kernel's tables.
#include "kernel/translators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/testbed.h"

namespace ocicat::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> translators_after(const std::string& command) {
  const auto place = kernel::NetworkNamespace::create();
  CHECK(place);
  std::vector<std::string> found;
  place->run([&] {
    if (!command.empty()) shell(command);
    const auto answer = kernel::destination_translators();
    CHECK(answer);
    found = *answer;
  });
  return found;
}

TEST(Translators, NobodyIsFoundWhereNobodyIs) {
  EXPECT_THAT(translators_after(""), IsEmpty());
  // Source translation, and whatever else is no concern of ours.
  EXPECT_THAT(translators_after(
                  "nft 'table ip edge { chain out { type nat hook postrouting priority 100; masquerade; "
                  "snat to 192.0.2.1; }; chain in { type nat hook prerouting priority -100; }; }'"),
              IsEmpty());
}

TEST(Translators, RulesOfNftablesAreFoundWhateverTheirTable) {
  EXPECT_THAT(
      translators_after(
          "nft 'table ip kube-proxy { chain services { tcp dport 80 dnat to 10.0.0.1:80; }; }; table inet "
          "ports { chain in { "
          "type nat hook prerouting priority -100; tcp dport 80 redirect to :8080; }; }; "
          "table ip6 lead { map m { type inet_service : ipv6_addr; }; chain c { dnat to tcp "
          "dport map @m; }; }'"),
      ElementsAre("nftables, table inet ports", "nftables, table ip kube-proxy", "nftables, table ip6 lead"));
}

TEST(Translators, IptablesIsFoundInBothOfItsForms) {
  EXPECT_THAT(
      translators_after("iptables-nft -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 10.0.0.1:8080"),
      ElementsAre("nftables, table ip nat"));
  EXPECT_THAT(translators_after("iptables-legacy -t nat -A POSTROUTING -j MASQUERADE"), IsEmpty());
  EXPECT_THAT(
      translators_after("iptables-legacy -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 10.0.0.1:8080;"
                        "ip6tables-legacy -t nat -A OUTPUT -p tcp --dport 80 -j REDIRECT --to-ports 8080"),
      ElementsAre("iptables, table nat of IPv4", "iptables, table nat of IPv6"));
}

}  // namespace
}  // namespace ocicat::test
