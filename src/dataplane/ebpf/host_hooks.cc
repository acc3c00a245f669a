#include "dataplane/ebpf/host_hooks.h"

#include <fmt/format.h>
#include <linux/netfilter.h>

#include <array>
#include <system_error>
#include <utility>
#include <vector>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::NetfilterHook;
using kernel::bpf::NetfilterPlace;

constexpr std::string_view kDriver = "driver-";

struct At {
  const char* name;
  NetfilterPlace place;
};
constexpr std::array kPlaces{At{"input-4", {NFPROTO_IPV4, NetfilterHook::kInput, kHostPriority}},
                             At{"input-6", {NFPROTO_IPV6, NetfilterHook::kInput, kHostPriority}},
                             At{"forward-4", {NFPROTO_IPV4, NetfilterHook::kForward, kHostPriority}},
                             At{"forward-6", {NFPROTO_IPV6, NetfilterHook::kForward, kHostPriority}},
                             At{"output-4", {NFPROTO_IPV4, NetfilterHook::kOutput, kHostPriority}},
                             At{"output-6", {NFPROTO_IPV6, NetfilterHook::kOutput, kHostPriority}}};

std::string driver_pin(int interface) {
  return fmt::format("{}{}", kDriver, interface);
}

}  // namespace

AskedBy asked_by(const kernel::bpf::Abilities& can) {
  if (can.netfilter) return AskedBy::kKernel;
  return can.asking ? AskedBy::kRules : AskedBy::kNobody;
}

Result<void> HostHooks::read_pins() {
  attached_.clear();
  std::error_code failed;
  if (!std::filesystem::exists(folder_, failed)) return {};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, failed))
    files.push_back(entry.path());
  if (failed) return fail(ErrorCode::kInternal, "list {}: {}", folder_.string(), failed.message());
  for (const auto& file : files) {
    TRY(auto link, kernel::bpf::open_pin(file));
    attached_.emplace(file.filename().string(), std::move(link));
  }
  return {};
}

void HostHooks::detach(const std::string& name) {
  std::error_code ignored;  // one that is not there is no error, and what stays is seen at the next look
  std::filesystem::remove(folder_ / name, ignored);
  attached_.erase(name);
  ++writes_;
}

// The kernel does not replace programs at its netfilter hooks: the old one goes when the new one is there,
// and pinned in its place.
Result<void> HostHooks::settle(const std::string& name, int program, const Attach& attach) {
  if (const auto there = attached_.find(name); there != attached_.end()) {
    if (trusted_) return {};
    TRY(const auto id, kernel::bpf::program_of_link(there->second.get()));
    TRY(const auto ours, kernel::bpf::id_of_program(program));
    if (id == ours) return {};
  }
  TRY(auto link, attach());
  TRY_VOID(kernel::bpf::pin(link.get(), folder_ / name));
  attached_.insert_or_assign(name, std::move(link));
  ++writes_;
  return {};
}

Result<void> HostHooks::sync_drivers(const HostPrograms& programs, const std::set<int>& drivers) {
  std::set<std::string> wanted;
  refused_.clear();
  for (const auto interface : drivers) {
    const auto name = driver_pin(interface);
    if (const auto there = attached_.find(name); there != attached_.end()) {
      TRY(const auto info, kernel::bpf::info_of_link(there->second.get()));
      TRY(const auto ours, kernel::bpf::id_of_program(programs.driver.get()));
      // Here only one program can be, so it is replaced. An interface that has gone has taken its link along.
      if (info.interface != interface) {
        detach(name);
      } else if (info.program_id != ours) {
        TRY_VOID(kernel::bpf::replace_program(there->second.get(), programs.driver.get()));
        ++writes_;
      }
    }
    const auto done = settle(name, programs.driver.get(),
                             [&] { return kernel::bpf::attach_to_driver(programs.driver.get(), interface); });
    if (done) {
      wanted.insert(name);
    } else if (done.error().code != ErrorCode::kNotFound) {  // one that has gone, of which we shall hear
      refused_.emplace(interface, done.error().message);
    }
  }
  keep_only(std::move(wanted));
  return {};
}

// Drivers that are not wanted any more, and places that only another build knows.
void HostHooks::keep_only(std::set<std::string> wanted) {
  for (const auto& at : kPlaces) wanted.insert(at.name);
  std::vector<std::string> others;
  for (const auto& [name, unused] : attached_) {
    if (!wanted.contains(name)) others.push_back(name);
  }
  for (const auto& name : others) detach(name);
}

Result<void> HostHooks::sync(const HostPrograms& programs, bool at_hooks, const std::set<int>& drivers) {
  trusted_ = std::exchange(known_, false);
  if (!trusted_) TRY_VOID(read_pins());
  if (at_hooks || !drivers.empty()) TRY_VOID(kernel::bpf::make_pin_folder(folder_));
  const int program = programs.host.get();
  for (const auto& [name, place] : kPlaces) {
    if (at_hooks) {
      TRY_VOID(settle(name, program, [&] { return kernel::bpf::attach(program, place); }));
    } else if (attached_.contains(name)) {
      detach(name);
    }
  }
  TRY_VOID(sync_drivers(programs, drivers));
  known_ = true;
  return {};
}

}  // namespace ocicat::dataplane::ebpf
