#include "netns/policy_of_host.h"

#include "dataplane/ebpf/ebpf_policy.h"
#include "dataplane/nftables/policy_table.h"

namespace ocicat::test {
namespace {

template <class T>
T expect_done(Result<T> done) {
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  CHECK(done);
  if constexpr (!std::is_void_v<T>) return *std::move(done);
}

}  // namespace

PolicyOfHost::PolicyOfHost(const Testbed& bed, dataplane::Datapath datapath)
    : bed_(bed), datapath_(datapath) {
  bed_.host().run([&] {
    nft_ = expect_done(kernel::nft::NetlinkKernel::open("ocicat"));
    routes_ = expect_done(kernel::NetlinkRoutes::open());
    connections_ = expect_done(kernel::NetlinkConnections::open());
  });
  start_anew();
}

void PolicyOfHost::start_anew() {
  if (datapath_ == dataplane::Datapath::kEbpf) {
    policy_ = std::make_unique<dataplane::ebpf::EbpfPolicy>(*nft_, *routes_, *connections_, pins_.path(),
                                                            usable_abilities());
  } else {
    policy_ = std::make_unique<dataplane::PolicyTable>(*nft_);
  }
}

void PolicyOfHost::apply(const HostChanges& changes) {
  bed_.host().run([&] { expect_done(policy_->apply(changes)); });
}

void PolicyOfHost::assign(const dataplane::HostInterfaces& interfaces) {
  bed_.host().run([&] { expect_done(policy_->assign(interfaces)); });
}

bool PolicyOfHost::resync() {
  bool wrote = false;
  bed_.host().run([&] {
    dataplane::Links links;
    for (auto& link : expect_done(routes_->links())) links.emplace(link.name, link);
    policy_->learn_links(links);
    wrote = expect_done(policy_->resync());
  });
  return wrote;
}

void PolicyOfHost::forget_connections() const {
  bed_.forget_connections();
  pins_.forget_connections();
}

}  // namespace ocicat::test
