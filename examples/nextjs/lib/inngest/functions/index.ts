// The route serves everything that is exported here, so a new function needs one line and cannot be forgotten elsewhere.
export { notifyAdmin, notifyAdmins } from "./admins";
export { cleanup } from "./cleanup";
export { syncContact } from "./contacts";
export { onboarding } from "./onboarding";
