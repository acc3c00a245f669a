#include "cni/plugin/own_namespace.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace ocicat::cni {
namespace {

// RTM_DELLINK by name (rtnetlink(7)).
struct Removal {
  nlmsghdr header{};
  ifinfomsg link{};
  nlattr attribute{};
  char name[IFNAMSIZ]{};
};
struct Confirmation {
  nlmsghdr header{};
  nlmsgerr error{};
  char rest[512]{};
};

Result<void> remove_here(const std::string& name) {
  const UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return fail_errno("netlink socket", errno);
  Removal request;
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = RTM_DELLINK;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.attribute.nla_len = sizeof request.attribute + IFNAMSIZ;
  request.attribute.nla_type = IFLA_IFNAME;
  std::memcpy(request.name, name.data(), name.size());
  if (::send(socket.get(), &request, sizeof request, 0) < 0) return fail_errno("send to netlink", errno);
  Confirmation answer;
  if (::recv(socket.get(), &answer, sizeof answer, 0) < 0) return fail_errno("receive from netlink", errno);
  if (answer.header.nlmsg_type != NLMSG_ERROR)
    return fail(ErrorCode::kInternal, "netlink answers something else");
  const int error_number = -answer.error.error;
  if (error_number != 0 && error_number != ENODEV)
    return fail_errno(fmt::format("remove {}", name), error_number);
  return {};
}

}  // namespace

Result<UniqueFd> open_namespace(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(fmt::format("open the network namespace {}", path), errno);
  // The file that a runtime mounts one on may outlive it.
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return fail(ErrorCode::kNotFound, "{} is no network namespace", path);
  struct stat there{}, here{};
  if (::fstat(fd.get(), &there) != 0 || ::stat("/proc/thread-self/ns/net", &here) != 0)
    return fail_errno(fmt::format("look at the network namespace {}", path), errno);
  if (there.st_ino == here.st_ino && there.st_dev == here.st_dev)
    return fail(ErrorCode::kInvalid, "{} is the network namespace of the host itself", path);
  return fd;
}

Result<void> remove_interface(const UniqueFd& network_namespace, const std::string& name) {
  if (name.size() >= IFNAMSIZ) return fail(ErrorCode::kInvalid, "{} is no name of an interface", name);
  const UniqueFd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own || ::setns(network_namespace.get(), CLONE_NEWNET) != 0)
    return fail_errno("enter the container's network namespace", errno);
  auto removed = remove_here(name);
  if (::setns(own.get(), CLONE_NEWNET) != 0)
    return fail_errno("leave the container's network namespace", errno);
  return removed;
}

}  // namespace ocicat::cni
