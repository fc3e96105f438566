"""Make the changes of a plan, each journalled before it is sent and after it is answered. Nothing here decides."""
