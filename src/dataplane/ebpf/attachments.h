// The programs at interfaces: which are attached, and where.
//
//   roles    a workload's interface has programs at both hooks; one of the host's own those that there are,
//            where packets come without a frame's header another
//   errors   what is attached stays
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "dataplane/ebpf/program_places.h"
#include "kernel/bpf.h"
#include "kernel/routes.h"

namespace ocicat::dataplane::ebpf {

enum class Role : std::uint8_t { kWorkload, kHost, kBare };
inline constexpr std::array kRoles{Role::kWorkload, Role::kHost, Role::kBare};

// That of an interface of the host's own; nothing: none. What comes in by an interface that is part of another comes in by
// that, but for a VRF, by which only comes what the host sends to itself.
std::optional<Role> role_at_host(const kernel::Link& link);

// By role and hook; at the host's side of a workload's interface, ingress is what comes from the workload.
// None: nothing is attached there.
class Programs {
 public:
  UniqueFd& at(Role role, kernel::bpf::Hook hook) { return fds_[place(role, hook)]; }
  const UniqueFd& at(Role role, kernel::bpf::Hook hook) const { return fds_[place(role, hook)]; }

 private:
  static std::size_t place(Role role, kernel::bpf::Hook hook) {
    return static_cast<std::size_t>(role) * 2 + (hook == kernel::bpf::Hook::kEgress ? 1U : 0U);
  }
  std::array<UniqueFd, 2 * kRoles.size()> fds_;
};

class Attachments {
 public:
  // Of all these interfaces, attaches at each with a role what that asks for, and detaches elsewhere. A
  // program takes the place of the one that is there at once. Of `others`, another kind of places, what is
  // ours goes afterwards. An interface that takes no program holds nobody else up.
  Result<void> sync(ProgramPlaces& places, ProgramPlaces* others, const Programs& programs,
                    const std::set<int>& interfaces, const std::map<int, Role>& roles);
  // Whether all programs of a workload are at this interface.
  bool is_workload(int interface) const { return workloads_.contains(interface); }
  const std::set<int>& workloads() const { return workloads_; }
  // Interfaces that took no program, and why.
  const std::map<int, std::string>& refused() const { return refused_; }
  std::uint64_t writes() const { return writes_; }

 private:
  struct Wanted {
    const UniqueFd* program;
    std::uint32_t id;
  };
  using WantedByHook = std::map<std::pair<Role, kernel::bpf::Hook>, Wanted>;
  static Result<WantedByHook> wanted(const Programs& programs);
  // Whether all that its role asks for is attached; false where the interface has gone meanwhile.
  Result<bool> settle(ProgramPlaces& places, const ProgramIds& there, const WantedByHook& wanted,
                      int interface, Role role);
  Result<void> detach(ProgramPlaces& places, const ProgramIds& there, const Programs& programs,
                      const std::map<int, Role>& roles);

  std::set<int> workloads_;
  std::map<int, std::string> refused_;
  std::uint64_t writes_ = 0;
};

}  // namespace ocicat::dataplane::ebpf
