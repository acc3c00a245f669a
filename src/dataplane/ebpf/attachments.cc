#include "dataplane/ebpf/attachments.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <system_error>

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::Hook;

constexpr std::array kHooks{Hook::kIngress, Hook::kEgress};

std::string_view name_of(Hook hook) {
  return hook == Hook::kIngress ? "ingress" : "egress";
}

std::size_t index_of(Hook hook) {
  return hook == Hook::kIngress ? 0 : 1;
}

void remove_file(const std::filesystem::path& file) {
  std::error_code ignored;  // one that is not there is no error, and what stays is seen at the next look
  std::filesystem::remove(file, ignored);
}

}  // namespace

std::filesystem::path Attachments::file_of(int interface, Hook hook) const {
  return folder_ / fmt::format("{}-{}", interface, name_of(hook));
}

bool Attachments::is_workload(int interface) const {
  const auto found = attached_.find(interface);
  return found != attached_.end() && found->second.role == Role::kWorkload;
}

std::vector<int> Attachments::workloads() const {
  std::vector<int> result;
  for (const auto& [interface, there] : attached_) {
    if (there.role == Role::kWorkload) result.push_back(interface);
  }
  return result;
}

Result<void> Attachments::adopt() {
  attached_.clear();
  TRY_VOID(kernel::bpf::make_pin_folder(folder_));
  std::error_code failed;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, failed)) files.insert(entry.path());
  if (failed) return fail(ErrorCode::kInternal, "list {}: {}", folder_.string(), failed.message());
  for (const auto& file : files) {
    TRY(auto link, kernel::bpf::open_pin(file));
    TRY(const auto info, kernel::bpf::info_of_link(link.get()));
    const bool known = std::ranges::find(kHooks, info.hook) != kHooks.end();
    if (!known || info.interface == 0 || file != file_of(info.interface, info.hook)) {
      remove_file(file);
      ++writes_;
      continue;
    }
    auto& there = attached_[info.interface];
    there.links[index_of(info.hook)] = std::move(link);
    there.programs[index_of(info.hook)] = info.program_id;
  }
  return {};
}

void Attachments::detach(int interface, Hook hook) {
  auto& link = attached_.at(interface).links[index_of(hook)];
  if (!link) return;
  remove_file(file_of(interface, hook));
  link = {};
  ++writes_;
}

void Attachments::forget(int interface) {
  for (const auto hook : kHooks) remove_file(file_of(interface, hook));
  attached_.erase(interface);
  ++writes_;
}

Result<void> Attachments::settle(const Programs& programs, int interface, Role role) {
  auto& there = attached_[interface];
  if (there.role != role) there.role.reset();
  for (const auto hook : kHooks) {
    const auto& program = programs.at(role, hook);
    auto& link = there.links[index_of(hook)];
    if (!program) {
      detach(interface, hook);
      continue;
    }
    TRY(const auto id, kernel::bpf::id_of_program(program.get()));
    if (link && there.programs[index_of(hook)] == id) continue;
    if (link) {
      TRY_VOID(kernel::bpf::replace_program(link.get(), program.get()));
    } else {
      TRY(auto made, kernel::bpf::attach(program.get(), interface, hook));
      TRY_VOID(kernel::bpf::pin(made.get(), file_of(interface, hook)));
      link = std::move(made);
    }
    there.programs[index_of(hook)] = id;
    ++writes_;
  }
  there.role = role;
  return {};
}

Result<void> Attachments::sync(const Programs& programs, const std::map<int, Role>& roles) {
  std::set<int> gone;
  for (const auto& [interface, there] : attached_) {
    if (!roles.contains(interface)) gone.insert(interface);
    // An interface that has gone has taken its links along, whoever has its index now.
    for (const auto& link : there.links) {
      if (!link) continue;
      TRY(const auto info, kernel::bpf::info_of_link(link.get()));
      if (info.interface != interface) gone.insert(interface);
    }
  }
  for (const auto interface : gone) forget(interface);
  for (const auto& [interface, role] : roles) {
    const auto done = settle(programs, interface, role);
    // It may have gone meanwhile, of which we shall hear.
    if (!done && done.error().code != ErrorCode::kNotFound) return done;
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
