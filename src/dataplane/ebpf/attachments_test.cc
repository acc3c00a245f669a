#include "dataplane/ebpf/attachments.h"

#include <gtest/gtest.h>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::Link;

Link with_master(Link link, bool vrf) {
  link.master = 7;
  link.in_vrf = vrf;
  return link;
}

TEST(RoleAtHost, IsThatOfTheInterfaceByWhichPacketsComeIn) {
  Link ethernet, bare, vrf;
  ethernet.ethernet = bare.bare = vrf.ethernet = vrf.vrf = true;
  EXPECT_EQ(role_at_host(ethernet), Role::kHost);
  EXPECT_EQ(role_at_host(bare), Role::kBare);
  EXPECT_EQ(role_at_host(Link()), std::nullopt) << "the loopback interface";
  EXPECT_EQ(role_at_host(with_master(ethernet, false)), std::nullopt) << "of a bridge, or a bond";
  EXPECT_EQ(role_at_host(with_master(ethernet, true)), Role::kHost);
  EXPECT_EQ(role_at_host(with_master(bare, true)), Role::kBare);
  EXPECT_EQ(role_at_host(vrf), std::nullopt);
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
