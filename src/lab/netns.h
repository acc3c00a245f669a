// Network namespaces with a name, kept where iproute2 keeps them, so that `ip netns` sees them too.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace ocicat::lab {

// All that have a name on this machine.
std::vector<std::string> namespaces();

Result<void> create_namespace(const std::string& name);
// The kernel takes it down once nobody is inside any more. One that is not there is no error.
Result<void> delete_namespace(const std::string& name);

Result<UniqueFd> open_namespace(const std::string& name);

// Runs `work` inside the namespace, on a thread of its own: the caller stays where it is.
Result<void> in_namespace(const std::string& name, const std::function<Result<void>()>& work);

// Takes the calling thread there for good. For a child between fork and exec.
Result<void> enter_namespace(const std::string& name);

// Writes /proc/sys/PATH of the namespace that the calling thread is in.
Result<void> set_sysctl(std::string_view path, std::string_view value);

}  // namespace ocicat::lab
