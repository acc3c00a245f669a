// The programs at interfaces: which are attached, where, and the pins that keep them there.
//
//   roles    a workload's interface has programs at both hooks; one of the host's own those that there are
//   pins     FOLDER/links/INDEX-ingress, INDEX-egress, with the interface's index
//   errors   what is attached stays
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "kernel/bpf.h"

namespace ocicat::dataplane::ebpf {

enum class Role : std::uint8_t { kWorkload, kHost };

// By role and hook; at the host's side of a workload's interface, ingress is what comes from the workload.
// None: nothing is attached there.
class Programs {
 public:
  UniqueFd& at(Role role, kernel::bpf::Hook hook) { return fds_[place(role, hook)]; }
  const UniqueFd& at(Role role, kernel::bpf::Hook hook) const { return fds_[place(role, hook)]; }

 private:
  static std::size_t place(Role role, kernel::bpf::Hook hook) {
    return (role == Role::kHost ? 2U : 0U) + (hook == kernel::bpf::Hook::kEgress ? 1U : 0U);
  }
  std::array<UniqueFd, 4> fds_;
};

class Attachments {
 public:
  explicit Attachments(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Learns what is pinned.
  Result<void> adopt();
  // Attaches at each of these interfaces what its role asks for, and detaches elsewhere. A program takes the
  // place of the one that is there at once.
  Result<void> sync(const Programs& programs, const std::map<int, Role>& roles);
  // Whether all programs of a workload are at this interface.
  bool is_workload(int interface) const;
  std::vector<int> workloads() const;
  std::uint64_t writes() const { return writes_; }

 private:
  struct Attached {
    std::array<UniqueFd, 2> links;            // by hook
    std::array<std::uint32_t, 2> programs{};  // their ids
    std::optional<Role> role;                 // all that it asks for is attached
  };

  std::filesystem::path file_of(int interface, kernel::bpf::Hook hook) const;
  Result<void> settle(const Programs& programs, int interface, Role role);
  void detach(int interface, kernel::bpf::Hook hook);
  void forget(int interface);

  std::filesystem::path folder_;
  std::map<int, Attached> attached_;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
