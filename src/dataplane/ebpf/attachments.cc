#include "dataplane/ebpf/attachments.h"

namespace ocicat::dataplane::ebpf {

std::optional<Role> role_at_host(const kernel::Link& link) {
  if (link.vrf || (link.master != 0 && !link.in_vrf)) return std::nullopt;
  if (link.ethernet) return Role::kHost;
  return link.bare ? std::optional(Role::kBare) : std::nullopt;
}

Result<Attachments::WantedByHook> Attachments::wanted(const Programs& programs) {
  WantedByHook wanted;
  for (const auto role : kRoles) {
    for (const auto hook : {kernel::bpf::Hook::kIngress, kernel::bpf::Hook::kEgress}) {
      const auto& program = programs.at(role, hook);
      if (!program) continue;
      TRY(const auto id, kernel::bpf::id_of_program(program.get()));
      wanted.emplace(std::pair(role, hook), Wanted{&program, id});
    }
  }
  return wanted;
}

Result<bool> Attachments::settle(ProgramPlaces& places, const ProgramIds& there, const WantedByHook& wanted,
                                 int interface, Role role) {
  for (const auto hook : {kernel::bpf::Hook::kIngress, kernel::bpf::Hook::kEgress}) {
    const auto is_to_be = wanted.find({role, hook});
    if (is_to_be == wanted.end()) continue;
    const auto& [program, id] = is_to_be->second;
    const Place place{interface, hook};
    if (const auto found = there.find(place); found != there.end() && found->second == id) continue;
    const auto done = places.put(place, program->get());
    // It may have gone meanwhile, of which we shall hear.
    if (!done && done.error().code == ErrorCode::kNotFound) return false;
    TRY_VOID(done);
    ++writes_;
  }
  return true;
}

Result<void> Attachments::detach(ProgramPlaces& places, const ProgramIds& there, const Programs& programs,
                                 const std::map<int, Role>& roles) {
  for (const auto& [place, program] : there) {
    const auto role = roles.find(place.interface);
    if (role != roles.end() && programs.at(role->second, place.hook)) continue;
    TRY_VOID(places.remove(place));
    ++writes_;
  }
  return {};
}

Result<void> Attachments::sync(ProgramPlaces& places, ProgramPlaces* others, const Programs& programs,
                               const std::set<int>& interfaces, const std::map<int, Role>& roles) {
  TRY(const auto there, places.read(interfaces));
  TRY_VOID(detach(places, there, programs, roles));
  std::set<int> workloads;
  refused_.clear();
  TRY(const auto to_be, wanted(programs));
  for (const auto& [interface, role] : roles) {
    const auto whole = settle(places, there, to_be, interface, role);
    if (!whole) {
      refused_.emplace(interface, whole.error().message);
    } else if (*whole && role == Role::kWorkload) {
      workloads.insert(interface);
    }
  }
  workloads_ = std::move(workloads);
  if (others == nullptr) return {};
  TRY(const auto left, others->read(interfaces));
  return detach(*others, left, programs, {});
}

}  // namespace ocicat::dataplane::ebpf
