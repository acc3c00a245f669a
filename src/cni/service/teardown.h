// Takes an attachment back: its interface, its document, its addresses, and last what is noted of it.
#pragma once

#include "base/result.h"
#include "cni/service/journal.h"
#include "cni/service/service.h"

namespace ocicat::cni {

// `namespace_path`: of the container, where it may live on. Whoever calls has the attachment's turn. What is gone
// already is no error, and what belongs to another container meanwhile stays: an interface that another attachment
// has, a document that names another. After an error it is noted as unwanted, to be tried again.
Result<void> take_back(const Service::Parts& parts, Journal& journal, ipam::Documents& documents,
                       Attachment attachment, const std::string& namespace_path);

}  // namespace ocicat::cni
