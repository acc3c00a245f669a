#include "kernel/link_removal.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/unique_fd.h"
#include "kernel/netlink.h"
#include "kernel/rcu.h"

namespace ocicat::kernel {
namespace {

// What the thread that asks the kernel tells the one that waits.
struct Asked {
  UniqueFd done{::eventfd(0, EFD_CLOEXEC)};
  Result<void> answer;
};

Result<void> ask(int link) {
  TRY(auto socket, NetlinkSocket::open(NETLINK_ROUTE));
  ifinfomsg header{};
  header.ifi_index = link;
  MessageBuilder builder;
  builder.begin(RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, socket.next_sequence(), header);
  builder.end();
  TRY(const auto acks, socket.request(builder.bytes()));
  if (acks.empty()) return fail(ErrorCode::kInternal, "the kernel did not answer");
  const int error_number = acks.front().error_number;
  if (error_number != 0 && error_number != ENODEV) return fail_errno("remove an interface", error_number);
  return {};
}

// Until the kernel says that the link has gone, or the request is answered.
Result<void> await(NetlinkSocket& monitor, int link, const std::shared_ptr<Asked>& asked) {
  bool gone = false;
  while (true) {
    std::array<pollfd, 2> fds{pollfd{monitor.fd(), POLLIN, 0}, pollfd{asked->done.get(), POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return fail_errno("poll", errno);
    if (fds[1].revents != 0) return asked->answer;
    if (fds[0].revents == 0) continue;
    const auto read = monitor.receive_waiting([&](MessageView message) {
      if (message.nlmsg_type != RTM_DELLINK) return;
      gone |= header_of<ifinfomsg>(message).ifi_index == link;
    });
    if (!read && read.error().code != ErrorCode::kExhausted) return std::unexpected(read.error());
    if (gone) return {};
  }
}

}  // namespace

LinkRemoval::~LinkRemoval() = default;  // futures of std::async wait for their work

void LinkRemoval::keep(std::future<void> request) {
  const std::scoped_lock lock(mutex_);
  std::erase_if(under_way_, [](const std::future<void>& other) {
    return other.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  under_way_.push_back(std::move(request));
}

Result<bool> LinkRemoval::remove(const std::string& name) {
  const ExpeditedGracePeriods at_once;  // it waits for one for each hook at which there are programs
  const int link = static_cast<int>(::if_nametoindex(name.c_str()));
  if (link == 0) return false;
  TRY(auto monitor, NetlinkSocket::open(NETLINK_ROUTE));
  TRY_VOID(monitor.join(RTNLGRP_LINK));
  auto asked = std::make_shared<Asked>();
  if (!asked->done) return fail_errno("eventfd", errno);
  keep(std::async(std::launch::async, [asked, link] {
    asked->answer = ask(link);
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(asked->done.get(), &one, sizeof one);
  }));
  if (const auto gone = await(monitor, link, asked); !gone)
    return within(fmt::format("remove {}", name), gone.error());
  return true;
}

}  // namespace ocicat::kernel
