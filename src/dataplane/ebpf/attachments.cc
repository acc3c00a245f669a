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

int program_for(const WorkloadPrograms& programs, Hook hook) {
  return (hook == Hook::kIngress ? programs.from_workload : programs.to_workload).get();
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

std::vector<int> Attachments::interfaces() const {
  std::vector<int> result;
  result.reserve(attached_.size());
  for (const auto& [interface, unused] : attached_) result.push_back(interface);
  return result;
}

Result<void> Attachments::adopt(const WorkloadPrograms& programs) {
  attached_.clear();
  TRY_VOID(kernel::bpf::make_pin_folder(folder_));
  std::error_code failed;
  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder_, failed)) files.insert(entry.path());
  if (failed) return fail(ErrorCode::kInternal, "list {}: {}", folder_.string(), failed.message());
  std::map<int, Links> found;
  for (const auto& file : files) {
    TRY(auto link, kernel::bpf::open_pin(file));
    TRY(const auto info, kernel::bpf::info_of_link(link.get()));
    const bool known = std::ranges::find(kHooks, info.hook) != kHooks.end();
    if (!known || info.interface == 0 || file != file_of(info.interface, info.hook)) {
      remove_file(file);
      ++writes_;
      continue;
    }
    const int program = program_for(programs, info.hook);
    TRY(const auto id, kernel::bpf::id_of_program(program));
    if (info.program_id != id) {
      TRY_VOID(kernel::bpf::replace_program(link.get(), program));
      ++writes_;
    }
    found[info.interface][index_of(info.hook)] = std::move(link);
  }
  // Half of it is none, and stays until both are there: attach() replaces it.
  for (auto& [interface, links] : found) {
    if (links[0] && links[1]) attached_.emplace(interface, std::move(links));
  }
  return {};
}

Result<void> Attachments::attach(const WorkloadPrograms& programs, int interface) {
  Links links;
  for (const auto hook : kHooks) {
    TRY(links[index_of(hook)], kernel::bpf::attach(program_for(programs, hook), interface, hook));
    TRY_VOID(kernel::bpf::pin(links[index_of(hook)].get(), file_of(interface, hook)));
    ++writes_;
  }
  attached_.insert_or_assign(interface, std::move(links));
  return {};
}

void Attachments::detach(int interface) {
  for (const auto hook : kHooks) remove_file(file_of(interface, hook));
  attached_.erase(interface);
  ++writes_;
}

Result<void> Attachments::sync(const WorkloadPrograms& programs, const std::vector<kernel::Link>& links,
                               const std::function<bool(const kernel::Link&)>& is_workload) {
  std::set<int> wanted;
  for (const auto& link : links) {
    if (is_workload(link)) wanted.insert(link.index);
  }
  for (const auto interface : interfaces()) {
    // An interface that has gone has taken its links along, whoever has its index now.
    TRY(const auto info, kernel::bpf::info_of_link(attached_.at(interface).front().get()));
    if (!wanted.contains(interface) || info.interface != interface) detach(interface);
  }
  for (const auto interface : wanted) {
    if (attached_.contains(interface)) continue;
    const auto done = attach(programs, interface);
    // It may have gone meanwhile, of which we shall hear.
    if (!done && done.error().code != ErrorCode::kNotFound) return done;
  }
  return {};
}

}  // namespace ocicat::dataplane::ebpf
