#include "dataplane/hosts/host_interfaces.h"

#include <gtest/gtest.h>

namespace ocicat::dataplane {
namespace {

using enum HostEndpointStatus;

ResourceKey key(const std::string& name) {
  return {Kind::kHostEndpoint, "", name};
}

HostEndpointState endpoint(const std::string& interface_name, std::vector<std::string> addresses = {}) {
  HostEndpointState state{.interface_name = interface_name};
  for (const auto& address : addresses) state.expected_addresses.push_back(*IpAddress::parse(address));
  return state;
}

kernel::Link link(int index, const std::string& name, bool up, std::vector<std::string> addresses = {}) {
  kernel::Link result{index, name, up};
  for (const auto& address : addresses) result.addresses.push_back(*IpAddress::parse(address));
  return result;
}

const Links kLinks{{"lo", link(1, "lo", true, {"127.0.0.1"})},
                   {"eth0", link(2, "eth0", true, {"192.0.2.1", "2001:db8::1"})},
                   {"eth1", link(3, "eth1", false, {"198.51.100.1"})}};

struct Case {
  const char* says;
  HostEndpoints endpoints;
  std::map<std::string, std::string> by_name;
  std::string all_others;
  std::map<std::string, HostEndpointStatus> statuses;
};

const Case kCases[] = {
    {"nobody has anything", {}, {}, "", {}},
    {"a name matches that interface only", {{key("a"), endpoint("eth0")}}, {{"eth0", "a"}}, "", {{"a", kUp}}},
    {"a name never matches by address, whatever is expected",
     {{key("a"), endpoint("eth1", {"192.0.2.1"})}},
     {{"eth1", "a"}},
     "",
     {{"a", kDown}}},
    {"a named interface is its endpoint's before it is there",
     {{key("a"), endpoint("eth7")}},
     {{"eth7", "a"}},
     "",
     {{"a", kDown}}},
    {"without a name an expected address of either family matches",
     {{key("a"), endpoint("", {"2001:db8::1"})}, {key("b"), endpoint("", {"198.51.100.1"})}},
     {{"eth0", "a"}, {"eth1", "b"}},
     "",
     {{"a", kUp}, {"b", kDown}}},
    {"several addresses match several interfaces",
     {{key("a"), endpoint("", {"192.0.2.1", "198.51.100.1"})}},
     {{"eth0", "a"}, {"eth1", "a"}},
     "",
     {{"a", kUp}}},
    {"the smallest name wins, a name having no priority over an address",
     {{key("a"), endpoint("", {"192.0.2.1"})}, {key("b"), endpoint("eth0")}},
     {{"eth0", "a"}},
     "",
     {{"a", kUp}, {"b", kError}}},
    {"nor an address over a name",
     {{key("a"), endpoint("eth0")}, {key("b"), endpoint("", {"192.0.2.1"})}},
     {{"eth0", "a"}},
     "",
     {{"a", kUp}, {"b", kError}}},
    {"an address that nobody has matches nothing",
     {{key("a"), endpoint("", {"203.0.113.9"})}},
     {},
     "",
     {{"a", kDown}}},
    {"the smallest of * has what is left",
     {{key("a"), endpoint("eth0")}, {key("x"), endpoint("*")}, {key("y"), endpoint("*")}},
     {{"eth0", "a"}},
     "x",
     {{"a", kUp}, {"x", kUp}, {"y", kError}}},
    {"* never takes an interface that another matches, whatever its name",
     {{key("a"), endpoint("*")}, {key("b"), endpoint("eth0")}},
     {{"eth0", "b"}},
     "a",
     {{"a", kUp}, {"b", kUp}}},
};

TEST(HostInterfaces, GoToTheSmallestNameOfAllThatMatch) {
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.says);
    const auto interfaces = assign_interfaces(test.endpoints, kLinks);
    std::map<std::string, std::string> by_name;
    for (const auto& [name, owner] : interfaces.by_name) by_name.emplace(name, owner.name);
    EXPECT_EQ(by_name, test.by_name);
    EXPECT_EQ(interfaces.all_others ? interfaces.all_others->name : "", test.all_others);
    std::map<std::string, HostEndpointStatus> found;
    for (const auto& [owner, status] : statuses(test.endpoints, kLinks, interfaces))
      found.emplace(owner.name, status);
    EXPECT_EQ(found, test.statuses);
  }
}

TEST(HostInterfaces, StarIsDownWhereAllThatIsLeftIsDown) {
  const HostEndpoints endpoints{
      {key("a"), endpoint("lo")}, {key("b"), endpoint("eth0")}, {key("c"), endpoint("*")}};
  EXPECT_EQ(statuses(endpoints, kLinks, assign_interfaces(endpoints, kLinks)).at(key("c")), kDown);
}

}  // namespace
}  // namespace ocicat::dataplane
